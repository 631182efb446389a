"""`masscli compare` finds what changed between two models, and its exit status stops a pipeline."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from sacrebleu.metrics import CHRF

from masscli.__main__ import run
from masscli.api.ensemble import Ensemble
from tests.commands import succeed

SOURCES = [f"source {number}" for number in range(40)]
REFERENCES = [f"the reference number {number} says something" for number in range(40)]
GOOD = [line.replace("says", "tells") for line in REFERENCES]
BAD = [
    line if number % 4 else "nothing of the kind" for number, line in enumerate(GOOD)
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, lines in {
        "input": SOURCES,
        "ref": REFERENCES,
        "good": GOOD,
        "bad": BAD,
        "short": GOOD[:-1],
    }.items():
        (tmp_path / name).write_text(
            "".join(f"{line}\n" for line in lines), encoding="utf-8"
        )
    return tmp_path


def test_a_worse_model_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("compare good bad --input input --ref ref --format=json".split()) == 3
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["lines"], report["changed"], report["better"], report["worse"]) == (
        40,
        10,
        0,
        10,
    )
    assert [one["name"] for one in report["new_scores"]] == ["BLEU", "chrF2"]
    assert "bad is worse than good: BLEU is lower (p < 0.05)" in err
    # The lines are ranked by what sacreBLEU's own chrF says of them.
    worst = report["worst"][0]
    metric = CHRF()
    losses = {}
    for number in range(0, 40, 4):
        before, after = (
            metric.sentence_score(text[number], [REFERENCES[number]]).score
            for text in (GOOD, BAD)
        )
        losses[number + 1] = after - before
    assert losses[worst["number"]] == pytest.approx(min(losses.values()))
    assert (worst["old"], worst["new"]) == (
        GOOD[worst["number"] - 1],
        "nothing of the kind",
    )


def test_a_better_or_equal_model_passes(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    succeed(["compare", "bad", "good", "--input", "input", "--ref", "ref"])
    out, err = capsys.readouterr()
    assert (
        "changed  10 (25.0%): 10 better, 0 worse by chrF" in out
        and "regressions" not in out
        and err == ""
    )
    succeed(["compare", "good", "good", "--input", "input", "--ref", "ref"])
    out = capsys.readouterr().out
    assert "changed  0 (0.0%)" in out and "(p = 1.0000)" in out


def test_without_references_the_share_of_changed_lines_counts(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    succeed(["compare", "good", "bad", "--input", "input", "--worst", "2"])
    out = capsys.readouterr().out
    assert (
        "changed  10 (25.0%)\n" in out
        and out.count("nothing of the kind") == 2
        and "BLEU" not in out
    )
    # Without references there is one number for a line: how close the new output is to the old one.
    assert re.search(r"^line \d+: [\d.]+$", out, re.MULTILINE) and "100.0 ->" not in out
    assert (
        run(["compare", "good", "bad", "--input", "input", "--max-changed", "0.2"]) == 3
    )
    assert "25.0% of the lines changed (--max-changed 0.2)" in capsys.readouterr().err


def test_runs_translate_the_lines(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_sync: None
) -> None:
    sizes = (
        "--dim=16 --ffn-dim=32 --heads=2 --encoder-layers=1 "
        "--decoder-layers=1 --num-workers=0"
    ).split()
    for number in ("1", "2"):
        command = (
            f"finetune {toy} --task=translate -s en -t de --max-update=2 "
            f"--seed={number}"
        ).split()
        succeed(
            [
                *command,
                *sizes,
                "--precision=fp32",
                "--save-dir",
                str(tmp_path / number),
            ]
        )
    first, second = str(tmp_path / "1"), str(tmp_path / "2")
    lines = str(toy.parent / "valid.en")
    capsys.readouterr()
    # Compared with itself nothing changes, and with its own outputs in a file neither.
    options = ["--input", lines, "--beam=2", "--precision=fp32"]
    succeed(["compare", first, first, *options])
    assert "changed  0 (0.0%)" in capsys.readouterr().out
    output = str(tmp_path / "output")
    succeed(
        f"generate {first} --beam=2 --precision=fp32 --input {lines} --output {output}"
    )
    succeed(["compare", first, output, *options])
    out = capsys.readouterr().out
    assert "changed  0 (0.0%)" in out and "sentences/s" in out
    assert run(["compare", first, second, *options, "--max-changed=0"]) == 3


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["good", "short"], "short: 39 lines, but --input has 40"),
        (
            ["good", "bad", "--ref", "short"],
            "--ref short: 39 lines, but --input has 40",
        ),
        (
            ["good", "bad", "--metric=blue", "--ref=ref"],
            "--metric: no metric called 'blue'",
        ),
        (["good", "bad", "--format=xml"], "--format: 'xml' is not one of text, json"),
        (["good", "inpt"], "inpt: no such run, checkpoint or file of outputs"),
        # Before any model is opened.
        (["nothing", "short"], "nothing: no such run"),
        ([".", "short"], "short: 39 lines"),
        (
            ["good", "bad", "--metric=bleu"],
            "--metric: would have no effect: nothing is",
        ),
        (["good", "bad", "--prefix-size=2"], "--prefix-size: would have no effect"),
    ],
)
def test_mistakes(
    args: list[str], message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", *args, "--input", "input"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_json_lines_are_compared_by_their_best_texts(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for number, line in enumerate(GOOD, 1):
        texts = [{"text": line, "score": -1.0}, {"text": "worse", "score": -2.0}]
        rows.append(json.dumps({"line": number, "hypotheses": texts}) + "\n")
    for name in ("x.jsonl", "without-suffix"):
        (place / name).write_text("".join(rows), encoding="utf-8")
        args = ["good", name, "--input", "input", "--format=json"]
        succeed(["compare", *args])
        assert json.loads(capsys.readouterr().out)["changed"] == 0
    (place / "y.jsonl").write_text('{"a": 1}\n' * len(GOOD), encoding="utf-8")
    assert run(["compare", "good", "y.jsonl", "--input", "input"]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("error: y.jsonl:1: is not an output of masscli generate")
    args = ["good", "bad", "--input", "y.jsonl", "--ref", "ref"]
    assert run(["compare", *args]) == 3
    assert "warning: y.jsonl: is read as text" in capsys.readouterr().err


def test_options_of_models_have_no_effect_on_files(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["good", "bad", "--input", "input", "--beam=2", "-s", "en"]
    succeed(["compare", *args])
    err = capsys.readouterr().err
    assert "warning: --beam has no effect: OLD and NEW are files of outputs" in err
    assert "warning: --source-lang has no effect" in err


def test_an_imported_model_is_compared_with_its_own_search(
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    no_sync: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_folder, lines = tmp_path / "run", str(toy.parent / "valid.en")
    command = ["finetune", str(toy), "--task=translate", "-s", "en", "-t", "de"]
    sizes = ["--dim=16", "--ffn-dim=32", "--heads=2", "--num-workers=0"]
    small = [*sizes, "--encoder-layers=1", "--decoder-layers=1", "--precision=fp32"]
    succeed([*command, *small, "--max-update=2", "--save-dir", str(run_folder)])
    # The checkpoint is opened as if an import had stored the other program's search.
    open_ensemble = Ensemble.open

    def open_imported(*args: Any) -> Ensemble:
        ensemble = open_ensemble(*args)
        imported = {"beam": "1", "max_len_a": "0", "max_len_b": "3"}
        ensemble.first.state.generation = imported
        return ensemble

    monkeypatch.setattr(Ensemble, "open", open_imported)
    output = str(tmp_path / "output")
    options = ["--input", lines, "--precision=fp32"]
    succeed(["generate", str(run_folder), *options, "--output", output])
    succeed(["compare", str(run_folder), output, *options])
    assert "changed  0 (0.0%)" in capsys.readouterr().out
    succeed(["compare", str(run_folder), output, *options, "--max-len-b=6"])
    assert "changed  0 (0.0%)" not in capsys.readouterr().out
