"""The Python API: it gives what the commands print, and refuses what they refuse."""

from __future__ import annotations

import copy
import json
import math
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import masscli
from masscli.core.errors import MasscliError
from tests.commands import succeed
from tests.toy import WORDS as RING
from tests.toy import recipe, sentences
from tests.toy_tasks import ENCODER, finetune

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")

LINES = [" ".join(RING["en"][i] for i in walk) for walk in sentences(6, 9)]


@pytest.fixture(scope="module")
def ende(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run that translates the toy language badly."""
    folder = tmp_path_factory.mktemp("api") / "ende"
    streams = {"pairs": {"dataset": "en-de", "objective": {"name": "translate"}}}
    made = recipe(toy, folder, "train.max_update=40", streams=streams)
    assert [type(event).__name__ for event in masscli.finetune(made)][-1] == "Finished"
    yield folder


def command(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    capsys.readouterr()
    succeed([*args, "--precision", "fp32"])
    return capsys.readouterr().out


def load(folder: Path) -> masscli.Model:
    return masscli.load(folder, device="cpu", precision="fp32")


def test_importing_masscli_does_not_import_torch() -> None:
    code = "import sys, masscli; print('torch' in sys.modules, 'load' in dir(masscli), masscli.load.__name__, 'torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False True load True\n"


def test_every_public_name_is_there() -> None:
    for name in masscli.__all__:
        assert getattr(masscli, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        masscli.lode  # noqa: B018


def test_translations_are_those_of_the_command(
    ende: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").write_text("".join(f"{line}\n" for line in [*LINES, ""]))
    model = load(ende)
    args = ["generate", str(ende), "--input", str(tmp_path / "in")]
    assert (
        model.translate([*LINES, ""], "en", "de", beam=3)
        == command(capsys, *args, "--beam", "3").split("\n")[:-1]
    )
    n_best = model.translate_nbest(iter(LINES), beam=3, lenpen=0.5)
    printed = command(
        capsys,
        *args,
        "--beam",
        "3",
        "--nbest",
        "3",
        "--lenpen",
        "0.5",
        "--format",
        "jsonl",
    )
    for translations, row in zip(n_best, printed.splitlines(), strict=False):
        expected = json.loads(row)["hypotheses"]
        assert [t.text for t in translations] == [h["text"] for h in expected]
        assert [t.score for t in translations] == [h["score"] for h in expected]
        assert [list(t.pieces) for t in translations] == [h["tokens"] for h in expected]
        assert [list(t.piece_scores) for t in translations] == [
            h["token_scores"] for h in expected
        ]


def test_scores_of_given_texts_are_those_of_the_search(ende: Path) -> None:
    model = load(ende)
    found = [translations[0] for translations in model.translate_nbest(LINES)]
    given = model.score([t.text for t in found], LINES)
    for one, other in zip(found, given, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        # The mean log-probability is the score with --lenpen 1, so confidence is its exponential.
        assert one.confidence == pytest.approx(math.exp(one.score), abs=1e-6)
    sums = model.log_probabilities([t.text for t in found], LINES)
    assert sums == pytest.approx([sum(t.piece_scores) for t in given])
    pieces = sum(len(t.piece_scores) for t in given)
    expected = math.exp(-sum(sums) / pieces)
    assert model.perplexity([t.text for t in found], LINES) == pytest.approx(expected)


def test_a_language_model_scores_text_alone(toy: Path, tmp_path: Path) -> None:
    streams = {
        "lm": {"dataset": "en", "objective": {"name": "gpt", "tokens_per_sample": 32}}
    }
    changes = ["model.encoder_layers=0", "train.max_update=30"]
    list(masscli.pretrain(recipe(toy, tmp_path / "gpt", *changes, streams=streams)))
    model = load(tmp_path / "gpt")
    ordered, shuffled = "ba be bi bo bu", "ba ku di fe go"
    better, worse = model.log_probabilities([ordered, shuffled])
    assert worse < better < 0
    assert model.perplexity([ordered]) < model.perplexity([shuffled])


def test_wrong_requests_are_refused(ende: Path, labeled: Path) -> None:
    model = load(ende)
    with pytest.raises(TypeError, match="give a list of strings"):
        model.translate("ba be")
    with pytest.raises(MasscliError, match="beem: unknown key, did you mean 'beam'"):
        model.translate(LINES, beem=3)
    with pytest.raises(MasscliError, match="temperature: would have no effect"):
        model.translate(LINES, temperature=2.0)
    with pytest.raises(MasscliError, match="does not know this language"):
        model.translate(LINES, target="fr")
    with pytest.raises(MasscliError, match="seed: must not be negative, got -1"):
        model.translate(LINES, sampling=True, seed=-1)
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            copied(model)
    with pytest.raises(MasscliError, match="was trained to generate text"):
        model.predict(["ba"])
    with pytest.warns(UserWarning, match="trained for en-de, not for de-en"):
        model.translate(LINES[:1], "de", "en")
    with pytest.warns(UserWarning, match="line 2 was truncated to the 31 pieces"):
        model.translate([LINES[0], " ".join(LINES)])
    for option, value in (
        ("precision", "half"),
        ("backend", "ctranslate"),
        ("device", "gpu"),
    ):
        with pytest.raises(MasscliError, match=f"^--{option} {value}: "):
            masscli.load(ende, **{option: value})  # type: ignore[arg-type]
    with pytest.raises(MasscliError, match="nothing-here"):
        masscli.load("nothing-here")
    with pytest.raises(TypeError, match="needs the folder of a run"):
        masscli.load()


def test_inputs_that_are_not_strings_are_named(ende: Path) -> None:
    model = load(ende)
    # JSON may hold half of a surrogate pair.
    half = json.loads('"ba \\ud83d"')
    for use in (
        model.translate,
        model.log_probabilities,
        lambda texts: model.score(LINES[:2], texts),
    ):
        with pytest.raises(
            MasscliError, match=r"^texts\[1\]: has an unpaired surrogate"
        ):
            use([LINES[0], half])
        with pytest.raises(TypeError, match=r"^texts\[1\] is of type NoneType"):
            use([LINES[0], None])
    with pytest.raises(MasscliError, match=r"^text: has an unpaired surrogate"):
        model.translate_text(half)
    with pytest.raises(TypeError, match=r"^text is of type list"):
        model.translate_text(LINES)  # type: ignore[arg-type]
    with pytest.raises(MasscliError, match="there are 1 text and 6 sources"):
        model.score(LINES[:1], LINES)


def test_options_without_effect_are_reported(ende: Path) -> None:
    model = load(ende)
    with pytest.raises(MasscliError, match="prefix_size would have no effect"):
        model.translate(LINES, prefix_size=2)
    with pytest.warns(UserWarning, match="nbest has no effect: .* translate_nbest"):
        several = model.translate(LINES, nbest=2)
    assert several == model.translate(LINES)


def test_samples_depend_on_the_seed(ende: Path) -> None:
    model = load(ende)

    def sample(seed: int) -> list[str]:
        return model.translate(LINES, sampling=True, seed=seed)

    assert sample(1) == sample(1) != sample(2)


SHORT = ["--max-length", "64", "--max-query", "16", "--doc-stride", "16"]
SENTENCES = ["ba ga di", "fe bo", "di"]
SENTENCE_TASKS = [
    ("classify", "one", SENTENCES, "".join(f"{s}\n" for s in SENTENCES)),
    ("classify", "two", [("ba ga", "di"), ("fe", "bo bo")], "ba ga\tdi\nfe\tbo bo\n"),
]


@pytest.mark.parametrize(("task", "table", "examples", "lines"), SENTENCE_TASKS)
def test_labels_are_those_of_the_command(
    labeled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    task: str,
    table: str,
    examples: list[masscli.api.examples.Example],
    lines: str,
) -> None:
    finetune(labeled, tmp_path / "run", "--task", task, "--table", table, *ENCODER)
    (tmp_path / "in").write_text(lines)
    printed = command(
        capsys, "predict", str(tmp_path / "run"), "-i", str(tmp_path / "in"), "--input-format", "lines",
        "--format", "jsonl",
    )  # fmt: skip
    predictions = load(tmp_path / "run").predict(examples)
    for number, (prediction, row) in enumerate(
        zip(predictions, printed.splitlines(), strict=True), 1
    ):
        assert {"line": number, **prediction.details} == json.loads(row)
        assert prediction.text == prediction.details["label"]
    with pytest.raises(
        MasscliError, match=r"examples:4: has 1, 2, 3, the first example has 1"
    ):
        load(tmp_path / "run").predict([*examples, *examples, ("ba", "bo", "di")][-4:])


def test_tags_answers_and_choices(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(labeled, tmp_path / "tag", "--task", "tag", "--table", "conll", *ENCODER)
    tagger = load(tmp_path / "tag")
    tags = tagger.predict(["ba ga di", ["fe", "bo"]])
    with pytest.warns(
        UserWarning, match="^no piece of the text is known in examples:2$"
    ):
        tagger.predict(["ba ga di", "\u4e16\u754c"])
    assert [tag.details["words"] for tag in tags] == [["ba", "ga", "di"], ["fe", "bo"]]
    assert all(len(tag.details["tags"]) == len(tag.details["words"]) for tag in tags)

    finetune(
        labeled, tmp_path / "choose", "--task", "choose", "--table", "jsonl", *ENCODER
    )
    rows = [
        json.loads(line) for line in (labeled / "valid.jsonl").read_text().splitlines()
    ]
    examples = [{"context": row["context"], "choices": row["choices"]} for row in rows]
    chosen = load(tmp_path / "choose").predict(examples)
    printed = command(
        capsys, "predict", str(tmp_path / "choose"), "-i", str(labeled / "valid.jsonl")
    )
    assert [choice.text for choice in chosen] == printed.splitlines()

    finetune(
        labeled,
        tmp_path / "squad",
        "--task",
        "extract",
        "--table",
        "squad",
        *ENCODER,
        *SHORT,
    )
    asked = json.loads((labeled / "valid.json").read_text())["data"][0]["paragraphs"]
    questions = [
        {"question": "bo?", "context": paragraph["context"]} for paragraph in asked
    ]
    answers = load(tmp_path / "squad").predict(questions)
    printed = command(
        capsys, "predict", str(tmp_path / "squad"), "-i", str(labeled / "valid.json")
    )
    assert [answer.text for answer in answers] == printed.splitlines()
    with pytest.raises(MasscliError, match="examples:1: lacks 'question'"):
        load(tmp_path / "squad").predict([{"context": "ba"}])
    with pytest.raises(MasscliError, match="reads fields by name"):
        load(tmp_path / "squad").predict(["ba"])
    assert load(tmp_path / "squad").predict([]) == []


def test_an_ensemble_translates_and_does_not_predict(ende: Path) -> None:
    both = masscli.load(ende, ende, device="cpu", precision="fp32")
    with pytest.warns(UserWarning, match="is in the ensemble twice"):
        assert both.translate(LINES) == load(ende).translate(LINES)
    with pytest.raises(MasscliError, match="predictions are made by one model"):
        both.predict(["ba"])
