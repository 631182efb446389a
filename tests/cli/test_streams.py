"""Standard streams that the caller has closed, and pipes whose other end waits for an answer."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.preloaded import Preloaded
from tests.toy import recipe
from tests.training.test_trainer import train


@pytest.fixture(scope="module")
def run_folder(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that translates."""
    folder = tmp_path_factory.mktemp("streams") / "run"
    streams = {"pairs": {"dataset": "en-de", "objective": {"name": "translate"}}}
    train(recipe(toy, folder, "train.max_update=1", streams=streams))
    return folder


def shell(
    command: str, place: Path, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a shell command in which `masscli` stands for this program."""
    whole = command.replace("masscli", f"{sys.executable} -m masscli")
    return subprocess.run(
        ["bash", "-c", whole], capture_output=True, text=True, cwd=place, input=text
    )


def test_without_stderr_the_summary_is_not_among_the_results(
    run_folder: Path, tmp_path: Path
) -> None:
    result = shell(
        f"masscli generate {run_folder} --max-len-b 3 2>&-", tmp_path, "bab\nbab\n\n"
    )
    assert (result.returncode, result.stdout.count("\n")) == (0, 3)
    assert "translated" not in result.stdout


def test_without_stderr_an_error_is_not_among_the_results(tmp_path: Path) -> None:
    result = shell("masscli inspect nothing 2>&-", tmp_path)
    assert (result.returncode, result.stdout) == (2, "")


def test_without_stdin_the_command_says_so(run_folder: Path, tmp_path: Path) -> None:
    result = shell(f"masscli generate {run_folder} <&-", tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-2:] == [
        "error: standard input (-) is closed",
        "hint: give a file, or leave it open",
    ]


@pytest.mark.parametrize(
    "command", ["--version", "--help", "recipe list", "generate RUN --input in.en"]
)
def test_without_stdout_results_are_an_error(
    command: str, run_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.en").write_text("bab\n")
    result = shell(f"masscli {command.replace('RUN', str(run_folder))} >&-", tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-2:] == [
        "error: standard output is closed",
        "hint: leave it open, or send it to a file or /dev/null",
    ]


def test_without_stdout_a_file_is_still_written(
    run_folder: Path, tmp_path: Path
) -> None:
    command = (
        f"masscli generate {run_folder} --max-len-b 3 --output out 0<in.en >&- 2>&-"
    )
    (tmp_path / "in.en").write_text("bab\nbab\n")
    assert shell(command, tmp_path).returncode == 0
    assert (tmp_path / "out").read_text().count("\n") == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "command",
    [
        "--version",
        "score --help",
        "recipe list",
        "score text --ref text",
        "generate RUN --input text",
    ],
)
def test_a_standard_output_without_room_is_named(
    command: str, run_folder: Path, tmp_path: Path, preloaded: Preloaded
) -> None:
    """A full disk behind `> file` does not say which file it is."""
    (tmp_path / "text").write_text("bab\n")
    arguments = command.replace("RUN", str(run_folder)).split()
    with open("/dev/full", "wb") as full:
        result = run_preloaded(preloaded, arguments, tmp_path, stdout=full)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-2:] == [
        "error: standard output: cannot be written (No space left on device)",
        "hint: make room, then run the same command again",
    ]


def test_streams_that_are_open_for_something_else_are_named(
    tmp_path: Path, preloaded: Preloaded
) -> None:
    """As by `1< file` instead of `1> file`."""
    (tmp_path / "text").write_text("bab\n")
    with open(tmp_path / "text", "rb") as stream:
        command = ["score", "text", "--ref", "text"]
        result = run_preloaded(preloaded, command, tmp_path, stdout=stream)
    assert (result.returncode, result.stderr.splitlines()[-2:]) == (
        2,
        [
            "error: standard output: cannot be written (Bad file descriptor)",
            "hint: leave it open for writing, or send it to a file or /dev/null",
        ],
    )
    with open(tmp_path / "out", "wb") as stream:
        command = ["score", "-", "--ref", "text"]
        result = run_preloaded(preloaded, command, tmp_path, stdin=stream)
    assert (result.returncode, result.stderr.splitlines()) == (
        2,
        [
            "error: -: cannot be read (Bad file descriptor)",
            "hint: give a file that can be read",
        ],
    )


def run_preloaded(
    preloaded: Preloaded,
    arguments: list[str],
    place: Path,
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command with its standard input or output connected to an open file."""
    command = [str(preloaded.program), *arguments]
    return subprocess.run(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        cwd=place,
    )


def test_output_that_nobody_reads_yet_is_not_lost(
    tmp_path: Path, preloaded: Preloaded
) -> None:
    """A pipe in non-blocking mode refuses what it has no room for."""
    (tmp_path / "text").write_text("bab\n" * 50_000)
    end, start = os.pipe()
    os.set_blocking(start, False)
    command = [str(preloaded.program), "score", "text", "--ref", "text"]
    with subprocess.Popen(
        [*command, "--metric", "accuracy", "--sentence-level"],
        stdout=start,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    ) as process:
        os.close(start)
        with open(end, "rb") as output:
            # The pipe takes a part of the first write, and is full then.
            select.select([output], [], [], 60)
            assert output.read().count(b"\n") == 50_000
        assert process.wait() == 0


@pytest.mark.parametrize("is_blocking", [True, False], ids=["", "non-blocking"])
@pytest.mark.parametrize("format", ["text", "jsonl"])
def test_each_line_of_a_pipe_is_answered_at_once(
    format: str,
    is_blocking: bool,
    run_folder: Path,
    tmp_path: Path,
    preloaded: Preloaded,
) -> None:
    """A pipe in non-blocking mode has nothing to read between the lines, which is not its end."""
    end, start = os.pipe()
    os.set_blocking(end, is_blocking)
    command = f"{preloaded.program} generate {run_folder} --buffer-size 1".split()
    with subprocess.Popen(
        [*command, "--max-len-b", "3", "--format", format],
        stdin=end,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    ) as process:
        os.close(end)
        assert process.stdout is not None
        for _ in range(3):
            os.write(start, b"bab\n")
            ready, _, _ = select.select([process.stdout], [], [], 60)
            assert ready
            assert os.read(process.stdout.fileno(), 1 << 16).count(b"\n") == 1
        os.close(start)
        assert process.wait() == 0
