"""The sample text: its parts do not overlap, and a seed always draws the same sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.__main__ import run
from masscli.text.demo import LANGUAGES, draw_sentences, write
from tests.commands import succeed

SIZES = {"train": 100, "valid": 100, "test": 200}
MONO = 3500

PARTS = [f"{part}.{language}" for part in SIZES for language in LANGUAGES]
MONOS = [f"mono.{language}.txt" for language in LANGUAGES]


@pytest.fixture(scope="module")
def found() -> list[dict[str, str]]:
    return draw_sentences(400 + 4 * MONO)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "new"
    write(path)
    return path


def lines(path: Path) -> list[str]:
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n")
    return text[:-1].split("\n")


def test_there_are_many_sentences_and_no_text_twice(
    found: list[dict[str, str]],
) -> None:
    assert len(found) == 400 + 4 * MONO
    for language in LANGUAGES:
        assert len({sentence[language] for sentence in found}) == len(found)


def test_each_part_has_its_lines(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted([*PARTS, *MONOS])
    for name in PARTS:
        assert len(lines(folder / name)) == SIZES[name.split(".")[0]]
    for name in MONOS:
        assert len(lines(folder / name)) == MONO


def test_lines_of_a_part_are_translations(
    folder: Path, found: list[dict[str, str]]
) -> None:
    known = {tuple(sentence.values()) for sentence in found}
    for part in SIZES:
        for row in zip(
            *(lines(folder / f"{part}.{language}") for language in LANGUAGES),
            strict=True,
        ):
            assert row in known


def test_no_sentence_is_in_two_files_in_any_language(
    folder: Path, found: list[dict[str, str]]
) -> None:
    """A line stands for its sentence in all four languages: neither it nor a translation of it may be elsewhere."""
    number = {
        (language, sentence[language]): n
        for n, sentence in enumerate(found)
        for language in LANGUAGES
    }
    groups = [
        [number["en", line] for line in lines(folder / f"{part}.en")] for part in SIZES
    ]
    groups += [
        [number[language, line] for line in lines(folder / f"mono.{language}.txt")]
        for language in LANGUAGES
    ]
    everything = [n for group in groups for n in group]
    assert len(set(everything)) == len(everything) == 400 + 4 * MONO


def test_a_seed_always_means_the_same(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "again")
    write(tmp_path / "other", seed=2)
    for name in [*PARTS, *MONOS]:
        data = (folder / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == data
        assert (tmp_path / "other" / name).read_bytes() != data


def test_the_command_writes_and_may_be_repeated(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a" / "b"
    succeed(["demo", str(target)])
    succeed(["demo", str(target)])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"{target}: {', '.join([*PARTS, *MONOS])}"] * 2
    assert (target / "test.ro").read_bytes() == (folder / "test.ro").read_bytes()


def test_text_of_the_user_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "valid.fr").write_text("à moi\n", encoding="utf-8")
    assert run(["demo", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"error: {tmp_path / 'valid.fr'}: exists and holds something else",
        "hint: choose a new or empty folder",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["valid.fr"]
    assert (tmp_path / "valid.fr").read_text(encoding="utf-8") == "à moi\n"


def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(["demo", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: {tmp_path / 'file'}: cannot be written (File exists)",
        "hint: choose another folder",
    ]
