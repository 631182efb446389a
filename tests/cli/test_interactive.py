"""A line is answered before the next one is written, with what `generate` prints for it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import masscli
from masscli.__main__ import run as masscli_run
from masscli.cli.app import dispatch
from tests.commands import succeed
from tests.preloaded import Preloaded
from tests.toy import recipe

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


@pytest.fixture(scope="module")
def run_folder(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interactive") / "run"
    streams = {"pairs": {"dataset": "en-de", "objective": {"name": "translate"}}}
    list(masscli.finetune(recipe(toy, folder, "train.max_update=30", streams=streams)))
    return folder


def test_a_pipe_is_answered_line_by_line(
    run_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    preloaded: Preloaded,
) -> None:
    lines = ["ba be bi", "", "bo bu  ", "di\tgu"]
    (tmp_path / "in").write_text("".join(f"{line}\n" for line in lines))
    options = [str(run_folder), "--beam", "3", "--nbest", "2", "--precision", "fp32"]
    capsys.readouterr()
    succeed(["generate", *options, "--input", str(tmp_path / "in")])
    expected = capsys.readouterr().out.splitlines()
    process = subprocess.Popen(
        [str(preloaded.program), "interactive", *options], text=True, encoding="utf-8",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    for number, line in enumerate(lines):
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        # Reading would wait for ever if the answer waited for another line.
        answers = [process.stdout.readline().rstrip("\n").strip() for _ in range(2)]
        assert answers == [
            answer.strip() for answer in expected[2 * number : 2 * number + 2]
        ]
    rest, messages = process.communicate(timeout=60)
    assert (rest, messages, process.returncode) == ("", "", 0)


def test_a_terminal_is_answered_line_by_line(run_folder: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "masscli", "interactive", str(run_folder), "--precision", "fp32"],
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    os.close(theirs)
    assert process.stdout is not None
    for line in ("ba be", "bo bu"):
        os.write(ours, f"{line}\n".encode())
        assert process.stdout.readline().strip()
    # Ctrl-D
    os.write(ours, b"\x04")
    rest, messages = process.communicate(timeout=60)
    os.close(ours)
    assert (rest, process.returncode) == ("", 0)
    assert messages == "en to de; an end of file (Ctrl-D) ends the command\n"


def test_scores_and_placeholders(
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "in").write_text("ba {x} be\n\n")
    with open(tmp_path / "in") as typed:
        monkeypatch.setattr(sys, "stdin", typed)
        capsys.readouterr()
        dispatch(
            (
                f"interactive {run_folder} --scores --keep-placeholders "
                "--precision fp32"
            ).split()
        )
    first, second = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert float(first[0]) < 0 < float(first[1]) < 1
    assert first[3].count("{x}") == 1
    assert second == ["0.0000", "1.0000", "-", ""]


def test_lines_that_the_model_cannot_read_are_named(
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "in").write_text(
        f"ba \u4e16 be\n\u4e16\u754c\n{'ba be ' * 40}\n", encoding="utf-8"
    )
    with open(tmp_path / "in", encoding="utf-8") as typed:
        monkeypatch.setattr(sys, "stdin", typed)
        capsys.readouterr()
        dispatch(["interactive", str(run_folder), "--precision", "fp32"])
    # Words of two letters are pieces; a word without known letters is its mark and an unknown piece.
    assert capsys.readouterr().err.splitlines() == [
        "warning: line 2 was not understood: no piece of it, or of a sentence of it, is known",
        "warning: line 3 was truncated: it is longer than the model reads",
        "2 of 86 pieces of the input unknown",
    ]


def test_a_closed_standard_input_is_named(
    run_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In `masscli interactive RUN <&-` Python has no stream for standard input."""
    monkeypatch.setattr(sys, "stdin", None)
    capsys.readouterr()
    assert masscli_run(["interactive", str(run_folder), "--precision", "fp32"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: standard input (-) is closed",
        "hint: give a file, or leave it open",
    ]


def answers(
    arguments: list[str],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[list[str], str]:
    """Return what `interactive` answers to the same two lines, and what it says besides."""
    (place / "in").write_text("ba be\nbi bo bu\n", encoding="utf-8")
    with open(place / "in", encoding="utf-8") as typed:
        monkeypatch.setattr(sys, "stdin", typed)
        capsys.readouterr()
        succeed(["interactive", *arguments, "--precision", "fp32"])
    printed = capsys.readouterr()
    return printed.out.splitlines(), printed.err


def test_without_a_named_run_the_latest_one_is_used(
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected, _ = answers([str(run_folder)], tmp_path, monkeypatch, capsys)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/one").symlink_to(run_folder)
    monkeypatch.chdir(tmp_path)
    assert answers([], tmp_path, monkeypatch, capsys) == (expected, "run: runs/one\n")
    # Another run is no reason to look for one of its own.
    monkeypatch.chdir(tmp_path / "runs")
    for command in ("interactive", "serve", "predict"):
        assert masscli_run([command]) == 2
        assert capsys.readouterr().err == (
            "error: there is no run under runs\n"
            "hint: train one with `masscli finetune`, or name its folder: "
            f"masscli {command} RUN\n"
        )


def test_the_seed_decides_what_is_drawn(
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    drawn = {}
    for seed in ("1", "2"):
        arguments = [str(run_folder), "--sampling", "--beam=1", "--seed", seed]
        drawn[seed] = answers(arguments, tmp_path, monkeypatch, capsys)[0]
    assert drawn["1"] != drawn["2"]
    # A program gets the same.
    model = masscli.load(run_folder, precision="fp32")
    options = {"beam": 1, "sampling": True, "split": False, "keep_placeholders": False}
    for seed, expected in drawn.items():
        texts = [
            model.translate_text(line, seed=int(seed), **options).text
            for line in ("ba be", "bi bo bu")
        ]
        assert texts == expected
    _, messages = answers([str(run_folder), "--seed=2"], tmp_path, monkeypatch, capsys)
    assert "--seed has no effect: nothing is drawn without --sampling" in messages
