"""Exports that need no other library: checkpoints without the optimizer, and bare tensors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from masscli.__main__ import run as masscli
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.config import to_dict
from masscli.text.tokenizer import Tokenizer
from tests.commands import succeed
from tests.published import assert_same_tensors, error_of
from tests.toy import recipe
from tests.training.test_trainer import train
from tests.translators import random_translator

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")


def export(run: Path, output: Path, *args: str) -> int:
    return masscli(["export", str(run), "--output", str(output), *args])


@pytest.fixture(scope="module")
def trained(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(recipe(toy, folder))
    return folder


def test_to_masscli_leaves_out_only_the_optimizer(
    trained: Path, tmp_path: Path
) -> None:
    assert export(trained, tmp_path / "small", "--to", "masscli") == 0
    ours, small = Checkpoint.open(trained), Checkpoint.open(tmp_path / "small")
    assert "optimizer.safetensors" not in small.checksums
    assert_same_tensors(small.weights(), ours.weights())
    assert_same_tensors(small.objective_state(), ours.objective_state())
    assert (small.recipe, small.state) == (ours.recipe, ours.state)
    assert small.verify() == len(small.checksums)
    assert "has no optimizer state" in error_of(small.optimizer_state)[0]


def test_to_masscli_is_accepted_by_other_commands(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(trained, tmp_path / "small", "--to", "masscli") == 0
    (tmp_path / "in").write_text("ba be bi\n", encoding="utf-8")
    outputs = []
    for run in (trained, tmp_path / "small"):
        succeed(f"generate {run} -s en -t de -i {tmp_path}/in --precision fp32")
        outputs.append(capsys.readouterr().out)
    assert outputs[0].splitlines()[-1] == outputs[1].splitlines()[-1]
    succeed(f"average {trained} {tmp_path}/small --output {tmp_path}/mean")
    succeed(["inspect", str(tmp_path / "small")])


def test_to_safetensors_holds_what_is_needed_to_read_it(
    trained: Path, tmp_path: Path
) -> None:
    assert export(trained, tmp_path / "bare", "--to", "safetensors") == 0
    ours = Checkpoint.open(trained)
    assert_same_tensors(
        load_file(tmp_path / "bare" / "model.safetensors"), ours.weights()
    )
    config = json.loads((tmp_path / "bare" / "config.json").read_text(encoding="utf-8"))
    assert config["model"] == to_dict(ours.recipe.model)
    assert config["languages"] == ["en", "de"]
    tokenizer = Tokenizer.load(tmp_path / "bare")
    assert (config["vocab_size"], config["special_ids"]["eos"]) == (
        tokenizer.vocab.size,
        tokenizer.vocab.eos,
    )


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ["--to", "masscli", "-s", "en"],
            "--source-lang has no effect on a translator with --to masscli",
        ),
        (["--to", "safetensors", "--precision", "int8"], "--precision has no effect"),
        (
            ["--to", "huggingface", "--family", "bert"],
            "--family has no effect on a translator",
        ),
        (
            ["--to", "huggingface", "-t", "fr"],
            "--target-lang fr: the model does not know this language",
        ),
        (["--to", "onnx"], "onnx"),
    ],
)
def test_meaningless_requests_are_refused(
    args: list[str],
    words: str,
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = random_translator("default", toy, tmp_path / "run")
    assert export(run.path, tmp_path / "out", *args) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
