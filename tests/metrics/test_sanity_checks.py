"""Differences that metrics count and people hardly see are pointed out, and nothing is where there is none."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import pytest

from masscli.__main__ import run
from masscli.metrics.config import ScoreConfig
from masscli.metrics.label_checks import check_correlations, check_metrics
from masscli.metrics.sanity_checks import check_spelling, check_tokenization
from tests.commands import succeed

INVISIBLE_DIFFERENCES = {
    "cedillas": ("Aceşti oameni", "Acești oameni", "with a cedilla"),
    "capital cedillas": ("ŢARA", "ȚARA", "with a cedilla"),
    "apostrophes": ("it's", "it\u2019s", "typographic apostrophes"),
    "quotation marks": (
        '"so" he said',
        "\u201cso\u201d he said",
        "typographic quotation marks",
    ),
    "German quotation marks": ('"so"', "\u201eso\u201c", "typographic quotation marks"),
    "guillemets": ('"oui"', "\u00ab oui \u00bb", "typographic quotation marks"),
    "composition": (unicodedata.normalize("NFD", "größer"), "größer", "Unicode NFC"),
    "zero-width space": ("one\u200bword", "oneword", "without a width"),
    "soft hyphen": ("Donau\u00addampf", "Donaudampf", "without a width"),
    "full-width signs": (
        "\u4f60\u597d\uff0c\uff21\uff11",
        "\u4f60\u597d,A1",
        "full-width",
    ),
    "WordPiece": ("one wo ##rd", "one word", "marks of pieces"),
    "byte-level BPE": ("one \u0120wo rd", "one word", "marks of pieces"),
    "end symbol": ("one word </s>", "one word", "special symbols, such as </s>"),
    "BERT's symbols": ("[CLS] one word [SEP]", "one word", "special symbols"),
    "Moses": ("it &apos;s so", "it 's so", "escapes, such as &apos;"),
    "brackets": ("one &#91; word", "one [ word", "escapes, such as &apos;"),
    "byte order mark": ("\ufeffone", "one", "without a width"),
}


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("kind", INVISIBLE_DIFFERENCES)
def test_nearly_invisible_differences_are_reported(kind: str, swapped: bool) -> None:
    ours, theirs, message = INVISIBLE_DIFFERENCES[kind]
    if swapped:
        ours, theirs = theirs, ours
    hypotheses, references = [ours, "same here"], [theirs, "same here"]
    (warning,) = check_spelling("hyp", hypotheses, {"ref": references})
    assert message in warning
    # What both sides do is no difference.
    assert not list(check_spelling("hyp", hypotheses, {"ref": hypotheses}))


class Counted(Sequence[str]):
    """Lines, and how often they were read."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        self.times = 0

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self.lines[index]

    def __iter__(self) -> Iterator[str]:
        self.times += 1
        return iter(self.lines)


def test_plain_lines_are_read_once_for_all_checks_of_spelling() -> None:
    hypotheses, references = Counted("a house", "a dog"), Counted("the house", "a cat")
    assert not list(check_spelling("hyp", hypotheses, {"ref": references}))
    assert (hypotheses.times, references.times) == (1, 1)


def test_both_spellings_on_one_side_cause_no_warning() -> None:
    mixed = ["it's", "it\u2019s"] * 5
    assert not list(check_spelling("hyp", ["it's"] * 10, {"ref": mixed}))
    # One line in twenty is a slip.
    mostly = ["it\u2019s"] * 19 + ["it's"]
    assert len(list(check_spelling("hyp", ["it's"] * 20, {"ref": mostly}))) == 1


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        (
            "我喜欢猫。",
            "Chinese, of which --tokenize 13a makes no words; BLEU needs --tokenize zh",
        ),
        ("私は猫が好きです。", "BLEU needs --tokenize ja-mecab"),
        ("カタカナ", "BLEU needs --tokenize ja-mecab"),
        ("ผมชอบแมว", "BLEU needs --tokenize char"),
        ("나는 고양이를 좋아한다", None),
        ("I like cats.", None),
        ("Er heißt 王 und mag Katzen.", None),
    ],
)
def test_bleu_of_scripts_without_spaces(line: str, advice: str | None) -> None:
    warnings = list(check_tokenization({"ref": [line] * 3}, ScoreConfig()))
    if advice is None:
        assert warnings == []
    else:
        assert len(warnings) == 1
        assert advice in warnings[0]
    assert not list(check_tokenization({"ref": [line] * 3}, ScoreConfig(tokenize="zh")))
    assert not list(
        check_tokenization({"ref": [line] * 3}, ScoreConfig(metric=("chrf",)))
    )


def test_a_constant_has_no_correlation() -> None:
    options = ScoreConfig(metric=("pearson",))
    (warning,) = check_correlations(
        "hyp", ["2.5", "2.50 "], {"ref": ["1", "2"]}, options
    )
    assert (
        warning
        == "hyp: every line is 2.5: a correlation is not defined, and 0 stands for it"
    )
    assert (
        len(list(check_correlations("hyp", ["1", "2"], {"ref": ["3", "3"]}, options)))
        == 1
    )
    assert not list(check_correlations("hyp", ["1", "2"], {"ref": ["3", "4"]}, options))
    assert not list(
        check_correlations("hyp", ["one", "two"], {"ref": ["1", "2"]}, options)
    )
    assert not list(
        check_correlations(
            "hyp", ["1", "1"], {"ref": ["3", "4"]}, ScoreConfig(metric=("f1",))
        )
    )
    # Nor have labels, of which Matthews' correlation is.
    (warning,) = check_correlations(
        "hyp", ["a", "b"], {"ref": ["b", "b "]}, ScoreConfig(metric=("mcc",))
    )
    assert warning.startswith("ref: every line is b: a correlation is not defined")
    (warning,) = check_correlations(
        "hyp", ["a", "b"], {"ref": ["", "b"]}, ScoreConfig(metric=("mcc",))
    )
    assert warning.startswith("ref: every line is b: a correlation is not defined")


def test_blank_lines_are_not_taken_for_labels() -> None:
    options = ScoreConfig(metric=("bleu",))
    assert not list(check_metrics({"ref": ["", " ", ""]}, options))
    # As these are, one a line.
    assert list(check_metrics({"ref": ["yes"] * 20}, options))


@pytest.mark.parametrize("metric", ["f1", "accuracy", "mcc", "f1,accuracy"])
def test_a_blank_gold_label_is_refused(
    metric: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A blank label would be left out of the mean over labels, but count as wrong for the predicted label."""
    (tmp_path / "hyp").write_text("a\nb\nc\n")
    (tmp_path / "ref").write_text("a\n \nc\n")
    command = [*f"score {tmp_path}/hyp --ref {tmp_path}/ref --metric".split(), metric]
    assert run(command) == 2
    assert (
        f"{tmp_path / 'ref'}: example 2 has no label, but 'b' in "
        in capsys.readouterr().err
    )
    # Lines that are blank on both sides stand between sentences.
    (tmp_path / "hyp").write_text("a\n\nc\n")
    succeed(command)
    # A mark says which examples are left out.
    (tmp_path / "hyp").write_text("a\nb\nc\n")
    (tmp_path / "ref").write_text("a\nnone\nc\n")
    succeed([*command, "--no-gold", "none"])


@pytest.mark.parametrize(
    ("metric", "option", "reason"),
    [
        ("accuracy", "--tokenize zh", "it is for --metric bleu"),
        ("accuracy", "--lang de", "only --metric multi-bleu"),
        ("accuracy", "--bootstrap 50", "add --confidence or --paired"),
        ("accuracy", "--summary-separator |", "it is for --metric rouge"),
        ("accuracy", "--positive a", "it is for --metric f1"),
        ("chrf", "--missing wrong", "for --metric squad"),
        ("f1", "--na-prob-thresh 0.5", "for --metric squad"),
        ("rouge", "--lowercase", "case does not count"),
        ("ter", "--lowercase", "case does not count"),
        ("entity-f1", "--lowercase", "case always counts"),
        ("chrf", "--tokenize 13a", "it is for --metric bleu"),
    ],
)
def test_options_without_effect_are_named(
    metric: str,
    option: str,
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "hyp").write_text("a\nb\n")
    path = str(tmp_path / "hyp")
    succeed(["score", path, "--ref", path, "--metric", metric, *option.split()])
    warnings = [
        line for line in capsys.readouterr().err.splitlines() if "has no effect" in line
    ]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"warning: {option.split()[0]} has no effect: ")
    assert reason in warnings[0]


@pytest.mark.parametrize(
    "options",
    ["-m bleu --tokenize zh", "-m multi-bleu --lang de", "-m f1 --positive a", "-m bleu --confidence --bootstrap 9",
     "-m rouge --summary-separator |", "-m accuracy --lowercase", "-m rouge,bleu --lowercase", "-m ter,chrf --lowercase"],
)  # fmt: skip
def test_options_with_an_effect_are_not(
    options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hyp").write_text("a\nb\n")
    path = str(tmp_path / "hyp")
    succeed(["score", path, "--ref", path, *options.split()])
    assert "has no effect" not in capsys.readouterr().err
