"""Lines that do not come back from Moses tokenization are counted before anything is trained on them."""

from __future__ import annotations

from pathlib import Path

from masscli.data.prepare.round_trip import (
    normalization_warnings,
    round_trip_warnings,
)
from masscli.text.corpus import scan_file
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer


def test_changed_lines_are_counted_and_one_is_shown(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("It is so.\n\nsee <b>this</b> now\n" * 50)
    (tmp_path / "a.de").write_text("Das ist so.\n" * 50)
    files = {name: [scan_file(tmp_path / f"a.{name}")] for name in ("en", "de")} | {
        "fr": []
    }
    (warning,) = round_trip_warnings(files, TextPreprocessing(moses=True))
    assert warning.startswith(
        "--moses: 50 of 100 sampled lines of en do not come back from tokenization"
    )
    assert "such as 'see <b>this</b> n' as 'see < b > this < '" in warning


def test_few_changed_lines_are_not_worth_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("It is so.\n" * 300 + "see <b>this</b>\n")
    assert (
        round_trip_warnings(
            {"en": [scan_file(tmp_path / "a.en")]}, TextPreprocessing(moses=True)
        )
        == []
    )


def test_lower_case_and_normalization_do_not_count_as_changes(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text(
        "A Man runs, and “Two” Dogs sleep .\nA Dog’s House.\n" * 10
    )
    files = {"en": [scan_file(tmp_path / "a.en")]}
    asked = TextPreprocessing(moses=True, lowercase=True, normalize=True)
    (warning,) = round_trip_warnings(files, asked)
    # The space before the full stop is lost, and nothing else.
    assert "10 of 20" in warning
    (tmp_path / "a.en").write_text("A Man runs.\nA “Dog” sleeps.\n" * 10)
    assert round_trip_warnings({"en": [scan_file(tmp_path / "a.en")]}, asked) == []


def test_characters_that_sentencepiece_replaces_are_shown(tmp_path: Path) -> None:
    """The zero-width non-joiner of Persian becomes a space, and an ellipsis three full stops."""
    persian = "\u0645\u06cc\u200c\u0631\u0648\u0645"
    texts = {
        "fa": [persian, "\u0645\u06cc"],
        "en": ["It is so.", "So\u00a0it  is, <s> \u2581."],
        "de": ["So\u2026", "Gr\u00fc\u00dfe"],
    }
    files = {}
    for language, lines in texts.items():
        path = tmp_path / f"a.{language}"
        path.write_text("".join(f"{line}\n" for line in lines) * 20, encoding="utf-8")
        files[language] = [scan_file(path)]
    lines = [line for group in texts.values() for line in group]
    tokenizer = Tokenizer.train(
        iter(lines * 20),
        vocab_size=57,
        preprocessing=TextPreprocessing(),
        languages=list(texts),
        folder=tmp_path,
    )
    assert normalization_warnings(files, tokenizer) == [
        "20 of 40 sampled lines of fa do not come back from the vocabulary as they were, such as "
        "'\u0645\u06cc\\u200c\u0631\u0648\u0645' as '\u0645\u06cc \u0631\u0648\u0645': SentencePiece replaces such "
        "characters, so that they cannot be generated",
        "20 of 40 sampled lines of de do not come back from the vocabulary as they were, such as "
        "'So\u2026' as 'So...': SentencePiece replaces such characters, so that they cannot be generated",
    ]


def test_a_vocabulary_that_replaces_nothing_gives_no_warning(tmp_path: Path) -> None:
    """BPE codes keep all characters, and unknown pieces are counted elsewhere."""
    (tmp_path / "codes").write_text("S o\n")
    (tmp_path / "vocab").write_text("S@@ 1\no 1\no@@ 1\n\u2026 1\n")
    (tmp_path / "a.de").write_text("So\u2026\nXo\n" * 20, encoding="utf-8")
    tokenizer = Tokenizer.from_bpe_codes(
        tmp_path / "codes",
        tmp_path / "vocab",
        min_count=0,
        preprocessing=TextPreprocessing(),
        languages=["de"],
        folder=tmp_path,
    )
    files = {"de": [scan_file(tmp_path / "a.de")]}
    assert normalization_warnings(files, tokenizer) == []
