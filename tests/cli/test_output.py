"""Results go to one place each: a file, or standard output, whatever other options name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from masscli.__main__ import run as masscli
from masscli.cli.output import writer
from masscli.core.atomic_files import open_atomic

SUBSET = ["generate", "run", "--gen-subset", "test"]
FILTER = ["filter", "web.en", "web.de", "-s", "en", "-t", "de"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["filter", "web.en", "web.de", "-s", "en", "-t", "de", "--output", "./web"],
            "--output web.en: is an input, which it would change",
        ),
        (
            "filter web.en web.de -s en -t de --output clean --scores web.de".split(),
            "--scores web.de: is an input, which it would change",
        ),
        (
            "mine run -i web.en -j web.de -s en -t de --output link".split(),
            "--output link: is an input, which it would change",
        ),
        (
            "generate run --input web.en --reference web.de --output web.de".split(),
            "--output web.de: is an input, which it would change",
        ),
        (
            ["generate", "run", "--input", "web.en", "--alignments", "link"],
            "--alignments link: is an input, which it would change",
        ),
        (
            ["predict", "run", "--input", "web.en", "--output", "./web.en"],
            "--output web.en: is an input, which it would change",
        ),
        (
            ["score", "web.de", "--ref", "web.en", "--append", "link"],
            "--append link: is an input, which it would change",
        ),
        (
            ["generate", "run", "--shortlist", "web.en", "--output", "link"],
            "--output link: is an input, which it would change",
        ),
        (
            ["report", "web.en", "--html", "link"],
            "--html link: is an input, which it would change",
        ),
        (
            [*FILTER, "--output", "x", "--other-lang=fr=web.en", "--scores", "link"],
            "--scores link: is an input, which it would change",
        ),
    ],
)
def test_no_input_is_changed(
    command: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("web.en", "web.de"):
        Path(name).write_text("a line\nx\n")
    Path("link").symlink_to("web.en")
    assert masscli(command) == 2
    assert f"error: {message}" in capsys.readouterr().err.splitlines()
    assert Path("web.en").read_text() == Path("web.de").read_text() == "a line\nx\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_without_room_is_named() -> None:
    with (
        pytest.raises(OSError) as caught,
        writer(Path("/dev/full"), "--output") as write,
    ):
        write("a line\n")
    assert caught.value.filename == "/dev/full"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["generate", "run", "--output", "x", "--alignments", "x"],
            "--alignments x: is --output, too",
        ),
        (
            ["generate", "run", "--output", "x", "--append", "../test/x"],
            "--append ../test/x: is --output, too",
        ),
        (
            ["generate", "run", "--alignments", "-"],
            "--alignments -: is --output, too",
        ),
        (
            [*SUBSET, "--output", "x", "--write-reference", "x"],
            "--write-reference x: is --output, too",
        ),
        (
            [*SUBSET, "--write-reference", "y", "--alignments", "y"],
            "--alignments y: is --write-reference, too",
        ),
        (["generate", "run", "--append", "-"], "--append -: cannot be standard output"),
        (
            ["predict", "run", "--input", "x", "--na-prob", "-"],
            "--na-prob -: is --output, too",
        ),
        (
            ["report", "scores", "--plot", "x.svg", "--html", "x.svg", "--x", "k"],
            "--html x.svg: is --plot, too",
        ),
        (
            [*FILTER, "--output", "clean", "--scores", "clean.de"],
            "--scores clean.de: is --output, too",
        ),
        (["report", "scores", "--html", "-"], "--html -: cannot be standard output"),
        (
            ["report", "run", "--append", "-", "--metric", "loss"],
            "--append -: cannot be standard output",
        ),
        (
            ["score", "hyp", "--ref", "ref", "--append", "-"],
            "--append -: cannot be standard output",
        ),
    ],
)
def test_two_results_are_not_written_to_one_place(
    command: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "test").mkdir()
    monkeypatch.chdir(tmp_path / "test")
    assert masscli(command) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error: {message}"
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (["generate", "run"], "--append"),
        (["report", "scores"], "--html"),
        (["report", "scores", "--x", "k"], "--plot"),
        (["report", "run", "--metric", "loss"], "--append"),
        (["score", "hyp", "--ref", "ref"], "--append"),
    ],
)
def test_paths_of_additional_outputs_must_be_files(
    command: list[str],
    flag: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Such a path is refused before the work begins, which may take hours."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.svg").mkdir()
    os.mkfifo(tmp_path / "pipe.svg")
    no_file = "is not a file, but a folder, a pipe or a device"
    for name, message in (
        ("no/x.svg", "its folder does not exist"),
        ("folder.svg", no_file),
        ("pipe.svg", no_file),
        ("/dev/null", no_file),
    ):
        assert masscli([*command, flag, name]) == 2
        out, err = capsys.readouterr()
        assert (out, err.splitlines()[0]) == ("", f"error: {flag} {name}: {message}")
    assert Path("/dev/null").is_char_device()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "folder.svg",
        "pipe.svg",
    ]


def test_a_place_that_may_not_be_written_is_named_before_the_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("web.en", "web.de"):
        Path(name).write_text("a line\nx\n")
    # An administrator may write everywhere.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    for command, place in (
        ([*FILTER, "--output", "clean"], "--output clean.en"),
        (["score", "web.en", "--ref=web.de", "--append=x"], "--append x"),
    ):
        assert masscli(command) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.splitlines() == [
            f"error: {place}: may not be written",
            "hint: choose a place that may be written to",
        ]


def test_an_error_names_the_file_and_not_a_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "none" / "out"
    with pytest.raises(FileNotFoundError) as error, open_atomic(path):
        pass
    assert error.value.filename == str(path)


def test_a_current_folder_that_has_been_removed_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text").write_text("a b c d\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    text = str(tmp_path / "text")
    assert masscli(["score", text, "--ref", text]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: the current folder has been removed",
        "hint: cd to a folder that exists",
    ]
