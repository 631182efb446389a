"""`masscli score RUN --gen-subset SPLIT` measures what validation measures, and running text in windows."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from masscli.__main__ import run
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.data.batches.batch import Tokens
from masscli.data.storage.data_folder import DataFolder
from masscli.generation.running_text import windows
from masscli.reporting.score_log import read_scores
from masscli.text.dictionary_model import pack_dictionary
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.text.two_vocabularies import pack_two_vocabularies
from masscli.training.setup import measure
from tests.commands import succeed
from tests.toy import WORDS

SMALL = (
    "--dim=16 --ffn-dim=32 --heads=2 --encoder-layers=1 "
    "--decoder-layers=1 --precision=fp32"
).split()
SHORT = [
    "--max-update=4",
    "--num-workers=0",
    "--save-interval-updates=4",
    "--max-tokens=300",
]


def measured(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, float]:
    succeed(["score", *args, "--precision=fp32", "--format=json"])
    return {one["name"]: one["value"] for one in json.loads(capsys.readouterr().out)}


def test_a_run_is_measured_as_in_its_validation(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_sync: None
) -> None:
    folder = str(tmp_path / "run")
    command = [
        *f"finetune {toy} --task=translate -s en -t de --eval-bleu".split(),
        *SMALL,
        *SHORT,
    ]
    succeed([*command, "--save-dir", folder])
    expected = Checkpoint.open(tmp_path / "run").metrics
    capsys.readouterr()
    log = tmp_path / "scores.jsonl"
    metrics = measured(
        capsys, folder, "--gen-subset=valid", "--append", str(log), "--tag=seed=1"
    )
    assert metrics == {name: pytest.approx(value) for name, value in expected.items()}
    assert {score.metric: score.value for score in read_scores(log)} == metrics
    succeed(["score", folder, "--gen-subset=valid", "--precision=fp32"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith("loss ")] == [
        ["loss", "=", f"{expected['loss']:.4f}"]
    ]
    (bleu,) = [line for line in lines if line.startswith("bleu.en-de ")]
    assert "version:" in bleu
    # A split that is not there is named, with those that are.
    assert run(["score", folder, "--gen-subset=test"]) == 2
    assert "has no test split" in capsys.readouterr().err


def test_training_options_of_validation_do_not_apply_to_a_split(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_sync: None
) -> None:
    """Neither a curve of another split, nor what to choose checkpoints by, nor a schedule that validates."""
    folder = str(tmp_path / "run")
    command = [
        *(
            f"finetune {toy} --task=backtranslate --max-valid-rows=4 "
            "--valid-subset=valid,train "
            "--expected-curve=train.loss=1:0.1-99 "
            "--lr-scheduler=reduce_lr_on_plateau"
        ).split(),
        *SMALL,
        *SHORT,
    ]
    succeed([*command, "--save-dir", folder])
    assert "rather --eval-roundtrip" in capsys.readouterr().err
    succeed(["score", folder, "--gen-subset=valid", "--precision=fp32"])
    assert "--eval-roundtrip" not in capsys.readouterr().err
    assert run(["score", folder, "--gen-subset=test"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {toy}: has no test split of ")


def test_a_run_with_two_vocabularies_is_measured(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_sync: None
) -> None:
    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    sides = [
        (language, pack_dictionary([*special, *words], special))
        for language, words in WORDS.items()
    ]
    packed = pack_two_vocabularies(*sides)
    tokenizer = Tokenizer.from_bytes(
        tmp_path, packed, TextPreprocessing(), tuple(WORDS)
    )
    vocabulary, data, folder = (
        tmp_path / name for name in ("vocabulary", "data", "run")
    )
    vocabulary.mkdir()
    tokenizer.with_own_ranges().save(vocabulary)
    texts = [f"--{split}pref={toy.parent / split}" for split in ("train", "valid")]
    succeed(["preprocess", f"--spm-model={vocabulary}", *texts, f"--destdir={data}"])
    command = (
        f"finetune {data} --task=translate -s en -t de --embeddings=separate".split()
    )
    succeed([*command, *SMALL, *SHORT, "--save-dir", str(folder)])
    expected = Checkpoint.open(folder).metrics
    capsys.readouterr()
    assert measured(capsys, str(folder), "--gen-subset=valid")["loss"] == pytest.approx(
        expected["loss"]
    )


def test_labels_are_measured_with_the_stored_head(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_sync: None
) -> None:
    folder = str(tmp_path / "run")
    data = labeled / "data"
    command = [
        "finetune",
        str(data),
        "--task=classify",
        "--table=one",
        *SMALL,
        *SHORT,
        "--save-dir",
        folder,
    ]
    succeed(command)
    expected = Checkpoint.open(tmp_path / "run").metrics
    capsys.readouterr()
    assert measured(capsys, folder, "--gen-subset=valid") == {
        name: pytest.approx(value) for name, value in expected.items()
    }


@pytest.mark.parametrize(
    ("length", "size", "context"),
    [(10, 4, 0), (10, 4, 3), (3, 8, 5), (9, 3, 1), (1, 1, 0)],
)
def test_every_token_is_predicted_once_from_enough_context(
    length: int, size: int, context: int
) -> None:
    predicted = []
    for begin, first, end in windows(length, size, context):
        assert end - begin <= size and first - begin >= min(context, first)
        predicted += range(first, end)
    assert predicted == list(range(length))


def test_running_text(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_sync: None
) -> None:
    folder = str(tmp_path / "run")
    command = [
        *f"pretrain {toy} --objective=gpt --langs=en --tokens-per-sample=12".split(),
        *SMALL[:3],
        *SHORT,
    ]
    succeed([*command, "--decoder-layers=1", "--precision=fp32", "--save-dir", folder])
    checkpoint = Checkpoint.open(tmp_path / "run")
    stream = next(iter(checkpoint.recipe.stream))
    capsys.readouterr()
    # Without overlap it is the perplexity of validation.
    plain = measured(capsys, folder, "--gen-subset=valid", "--context-window=0")
    assert plain[f"{stream}.ppl-piece"] == pytest.approx(
        math.exp(checkpoint.metrics["loss"]), rel=1e-5
    )
    # With as much context as a window has, each token is predicted by a forward pass of its own.
    sliding = measured(capsys, folder, "--gen-subset=valid", "--context-window=11")
    data = DataFolder.open(toy)
    column = data.monolingual("valid", "en")
    text = np.concatenate(
        [[*column[row], data.vocab.eos] for row in range(len(column))]
    )
    model, framing = checkpoint.model(), checkpoint.framing()
    nats = 0.0
    for place in range(len(text)):
        seen = text[max(0, place - 11) : place]
        ids = torch.tensor([[framing.decoder_start("en"), *seen]])
        with torch.inference_mode():
            hidden = model.decode(
                Tokens(
                    ids,
                    torch.tensor([ids.shape[1]]),
                    language=framing.language_tensor("en", 1),
                ),
                None,
            )
            nats -= float(
                torch.log_softmax(model.logits(hidden[0, -1]), -1)[text[place]]
            )
    assert sliding[f"{stream}.ppl-piece"] == pytest.approx(
        math.exp(nats / len(text)), rel=1e-4
    )
    lines = data.original_lines("valid", "en", "en")
    words = sum(len(line.split()) + 1 for line in lines)
    assert sliding[f"{stream}.ppl-word"] == pytest.approx(
        math.exp(nats / words), rel=1e-4
    )
    size = sum(len(line) + 1 for line in lines)
    assert sliding[f"{stream}.bits-per-byte"] == pytest.approx(
        nats / math.log(2) / size, rel=1e-4
    )
    for number in ("12", "-1"):
        assert (
            run(["score", folder, "--gen-subset=valid", f"--context-window={number}"])
            == 2
        )
        assert "a window of" in capsys.readouterr().err


def test_a_line_without_spaces_has_a_perplexity_by_word(
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    no_sync: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line of Chinese is one word of many pieces: e to the power of its nats has no meaning."""
    folder = str(tmp_path / "run")
    command = [
        *f"pretrain {toy} --objective=gpt --langs=en --tokens-per-sample=12".split(),
        *SMALL[:3],
        *SHORT,
    ]
    succeed([*command, "--decoder-layers=1", "--save-dir", folder])
    capsys.readouterr()
    # As if each word had some hundred pieces.
    monkeypatch.setattr(measure, "negative_log_likelihood", lambda *_: 1e6)
    found = measured(capsys, folder, "--gen-subset=valid", "--context-window=0")
    (by_word,) = [value for name, value in found.items() if name.endswith("ppl-word")]
    assert by_word == 1e100
    log = str(tmp_path / "log.jsonl")
    args = ["--gen-subset=valid", "--context-window=0", "--append", log]
    succeed(["score", folder, "--precision=fp32", *args])
    assert re.search(r"ppl-word *= *inf  ", capsys.readouterr().out)
    # A log can be read again.
    succeed(["report", log])
    assert "inf" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["x"], "--ref: there is nothing to compare with"),
        (["x", "--context-window=3"], "--data and --context-window: are for runs"),
        (
            ["x", "--gen-subset=test", "--ref=y"],
            "--ref: the references of --gen-subset are those of the data",
        ),
        (
            ["x", "--gen-subset=test", "--lowercase"],
            "--lowercase: a run is measured as validation does it",
        ),
        (["nowhere", "--gen-subset=test"], "nowhere: is not a run or checkpoint"),
        (
            ["nowhere", "--gen-subset=test", "--precision=fp8"],
            "--precision: 'fp8' is not one of",
        ),
    ],
)
def test_mistakes(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", *args]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_a_run_that_does_not_find_its_data_gives_a_hint(
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The recipe of a run names its data as the user did, which may be a relative path."""
    monkeypatch.chdir(toy.parent)
    folder = str(tmp_path / "run")
    pretrain = ["pretrain", toy.name, "--objective=mass", "--save-dir", folder]
    succeed([*pretrain, *SMALL, *SHORT])
    monkeypatch.chdir(tmp_path)
    direction = ["-s", "en", "-t", "de"]
    commands = [
        ["score", folder, "--gen-subset=valid"],
        ["generate", folder, "--gen-subset=valid", *direction],
        ["inspect", folder, "--retrieval"],
        ["dictionary", folder, "--langs=en,de", "--output=x"],
    ]
    for command in commands:
        capsys.readouterr()
        assert run(command) == 2
        error, hint = capsys.readouterr().err.splitlines()[-2:]
        assert error.startswith(f"error: {toy.name}: this data folder, which")
        assert "name the data with --data" in hint
        # The hint can be followed.
        succeed([*command, f"--data={toy}"])
