"""The table of speeds: its rows can be made, programs in other environments answer or are named, and profiles add up."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from masscli.data.batches.batch import Batch, Labels, Tokens
from tests.benchmarks.speed import other_environments, profile, training
from tests.benchmarks.speed.backtranslation import backtranslation_row, supervised
from tests.benchmarks.speed.measure import (
    Contestant,
    Row,
    Value,
    measure,
    units_per_second,
)
from tests.benchmarks.speed.memory import memory_row
from tests.benchmarks.speed.rows import rows_by_name, translation_row
from tests.benchmarks.speed.table import table_lines

SHAPE = training.Shape("tiny", 60, 3, 7)
ARGUMENTS = Namespace(
    tokens=32,
    threads=1,
    peers=False,
    compiled=False,
)
WORKER = '''
"""Stands for another program: its work is nothing."""
from tests.benchmarks.speed.workers.serve import serve

serve(lambda settings: lambda: float(settings["rows"]))
'''


def test_there_is_a_row_for_every_length_and_vocabulary() -> None:
    names = set(rows_by_name(ARGUMENTS))
    for length in (8, 30, 100, 512):
        assert f"train-base-L{length}" in names
    for objective in ("mass", "bert", "gpt", "electra"):
        assert {f"{objective}-128", f"{objective}-512"} <= names
    for vocabulary in ("V32k", "V64k"):
        assert {
            f"train-base-{vocabulary}",
            f"train-tiny-{vocabulary}",
            f"generate-greedy-{vocabulary}",
        } <= names
    assert {"memory-base", "backtranslation-tiny", "backtranslation-base"} <= names


def test_programs_that_cannot_start_are_named_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(other_environments.__file__).parent
    copies = tmp_path / "tests/benchmarks/speed"
    (copies / "workers").mkdir(parents=True)
    (tmp_path / "tests/__init__.py").touch()
    for name in ("measure.py", "workers/serve.py"):
        (copies / name).write_text((package / name).read_text())
    (copies / "workers/other.py").write_text(WORKER)
    (copies / "workers/broken.py").write_text("import no_such_library\n")
    monkeypatch.setattr(other_environments, "ROOT", tmp_path)
    # The copies stand for the real ones, which lie on this path.
    monkeypatch.delenv("PYTHONPATH", raising=False)
    settings = {
        (program, "fp32"): other_environments.settings_of(SHAPE, 3, 1, "fp32", 0)
        for program in ("Other", "Broken", "Absent", "Nowhere")
    }
    pythons = {
        "Other": sys.executable,
        "Broken": sys.executable,
        "Nowhere": "/nowhere/python",
    }
    contestants, missing = other_environments.started(settings, pythons)
    assert missing["Broken fp32"].endswith("No module named 'no_such_library'")
    assert missing["Absent"] == "give --absent-python"
    assert "/nowhere/python" in missing["Nowhere"]
    row = Row("work", "rows/s", contestants, missing=missing)
    # A worker answers as often as it is asked.
    values = measure(row, repeats=2, seconds=0.01)
    assert [value.wall > 3 for value in values["Other fp32"]] == [True, True]
    lines = table_lines(row, values, "wall")
    assert "| | Absent | | | left out: give --absent-python |" in lines


@pytest.mark.peer
@pytest.mark.parametrize("program", ["fairseq", "JoeyNMT", "eole"])
def test_each_program_trains_and_generates(program: str) -> None:
    python = os.environ.get(f"MASSCLI_{program.upper()}_PYTHON")
    if python is None:
        pytest.skip(f"{program} is not installed")
    pythons = {program: python}
    contestants, _ = other_environments.trained(SHAPE, pythons, 1)
    generating, _ = other_environments.generating(SHAPE, 4, 2, pythons, 1)
    measured = {each.name: each.turn(0.0) for each in contestants + generating}
    for each in contestants + generating:
        each.close()
    expected = [
        f"{name} {precision}"
        for name, precision in other_environments.TRAINED
        if name == program
    ]
    assert list(measured) == expected
    assert all(value.wall > 0 for value in measured.values())
    assert len(generating) == int(program != "fairseq")


def test_updates_of_backtranslation_are_beside_supervised_ones_on_what_was_written() -> (
    None
):
    row = backtranslation_row("tiny", 60, torch.float32)
    values = measure(row, repeats=1, seconds=0.0)
    assert list(values) == ["masscli backtranslate", "masscli translate"]
    # A search of 15 steps that counted as well would take several times as long as an update.
    ratio = values["masscli translate"][0].cpu / values["masscli backtranslate"][0].cpu
    assert ratio < 2.5


def test_a_supervised_batch_has_the_sources_that_were_written() -> None:
    labels = Labels(torch.arange(3), torch.arange(3))
    batch = Batch(
        source=Tokens(torch.tensor([[5, 6, 2]]), torch.tensor([3])),
        target=Tokens(torch.tensor([[1, 7, 8]]), torch.tensor([3])),
        labels={"backtranslate": labels},
        counts={"backtranslate": 3.0},
        example_numbers=torch.arange(1),
        seeds=torch.tensor([4]),
    )
    pairs = supervised(batch)
    assert pairs.source is batch.source
    assert pairs.target is batch.target
    assert pairs.labels == {"translate": labels}
    assert pairs.counts == {"translate": 3.0}


def test_a_compiled_peer_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", sys.executable)
    assert training.has_compiler()
    monkeypatch.setenv("CXX", "/nowhere/g++")
    assert not training.has_compiler()
    without = Namespace(**vars(ARGUMENTS) | {"compiled": True, "peers": True})
    for program in ("fairseq", "joeynmt", "eole"):
        setattr(without, f"{program}_python", None)
    row = translation_row(SHAPE, torch.float32, without)
    assert row.missing["HF compiled"].startswith("there is no C++ compiler")
    assert not any("compiled" in each.name for each in row.contestants)


def test_memory_is_that_of_updates_in_gib() -> None:
    row = memory_row(SHAPE, "fp32", 1)
    own, peer = row.contestants
    assert (own.name, peer.name) == ("masscli fp32", "torch fp32")
    assert 0 < own.turn(0.0).wall < 1


def test_operations_are_sorted_by_what_calls_them() -> None:
    loss = "_LinearCrossEntropyBackward"
    assert profile.kind_of(["aten::mm", loss]) == profile.PRODUCTS
    assert profile.kind_of(["aten::mul_", loss]) == "loss"
    assert profile.kind_of(["aten::addmm", "aten::linear"]) == profile.PRODUCTS
    assert profile.kind_of(["aten::bmm", "_ShortAttention"]) == "attention"
    assert profile.kind_of(["aten::_softmax"]) == "attention"
    assert profile.kind_of(["aten::mul_", "Optimizer.step#AdamW.step"]) == "optimizer"
    assert profile.kind_of(["aten::native_layer_norm"]) == "norm"
    assert profile.kind_of(["aten::_to_copy", "aten::to"]) == "casts and copies"
    assert profile.kind_of(["aten::cos"]) == profile.OTHER


def test_the_shares_of_a_profile_sum_to_one() -> None:
    update = training.masscli_translation(SHAPE, torch.float32)
    lines = profile.profile_lines(Row("updates", "tokens/s", [update]), 0.0)
    shares = {}
    for line in lines:
        if line.endswith("% |"):
            _, kind, share, _ = line.split("|")
            shares[kind.strip()] = float(share.strip(" %"))
    assert {"optimizer", "attention", "loss", "norm", profile.PRODUCTS} <= set(shares)
    assert sum(shares.values()) == pytest.approx(100, abs=0.5)


def test_whole_commands_have_no_profile() -> None:
    command = Contestant("masscli", units_per_second(lambda: 1.0))
    with pytest.raises(SystemExit, match="measured in other processes"):
        profile.profile_lines(Row("cold start", "seconds", [command]), 0.0)


def test_values_of_every_program_are_shown_beside_those_of_masscli() -> None:
    row = Row(
        "work",
        "units/s",
        [
            Contestant("masscli", lambda seconds: Value(6.0, 6.0)),
            Contestant("peer", lambda seconds: Value(3.0, 3.0)),
        ],
    )
    values = measure(row, repeats=3, seconds=0.0)
    assert "masscli is 2.00 times as fast" in table_lines(row, values, "wall")[1]


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_the_first_work_after_another_program_is_not_measured(
    lower_is_better: bool,
) -> None:
    last = ""

    def contestant(name: str) -> Contestant:
        def turn(seconds: float) -> Value:
            nonlocal last
            value = 2.0 if last == name else 1.0
            last = name
            return Value(value, value)

        return Contestant(name, turn)

    contestants = [contestant("masscli"), contestant("peer")]
    row = Row("work", "units/s", contestants, lower_is_better=lower_is_better)
    values = measure(row, repeats=2, seconds=0.0)
    # A command or a process begins anew each time, whatever went before.
    expected = 1.0 if lower_is_better else 2.0
    assert [value.wall for value in values["masscli"]] == [expected] * 2
