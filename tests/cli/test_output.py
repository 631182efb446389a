"""Results go to one place each: a file, or standard output, whatever other options name."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.__main__ import run as masscli


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["generate", "run", "--output", "x", "--alignments", "x"],
            "--alignments: is --output, too",
        ),
        (
            ["generate", "run", "--alignments", "-"],
            "--alignments: is --output, too",
        ),
        (
            ["generate", "run", "--output", "x", "--write-reference", "x"],
            "--write-reference: is --output, too",
        ),
        (
            ["generate", "run", "--write-reference", "y", "--alignments", "y"],
            "--alignments: is --write-reference, too",
        ),
        (
            ["predict", "run", "--input", "x.tsv", "--output", "x.tsv"],
            "--output: is the input, which it would replace",
        ),
        (["generate", "run", "--append", "-"], "--append -: cannot be standard output"),
        (
            ["predict", "run", "--input", "x", "--na-prob", "-"],
            "--na-prob: is --output, too",
        ),
        (
            ["report", "scores", "--plot", "x.svg", "--html", "x.svg", "--x", "k"],
            "--html x.svg: is --plot, too",
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
    monkeypatch.chdir(tmp_path)
    assert masscli(command) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error: {message}"
    assert list(tmp_path.iterdir()) == []
