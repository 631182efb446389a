"""Lines that do not come back from Moses tokenization are counted before anything is trained on them."""

from __future__ import annotations

from pathlib import Path

from masscli.data.prepare.round_trip import round_trip_warnings
from masscli.text.corpus import scan_file
from masscli.text.preprocessing import TextPreprocessing


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
