"""Standard streams that the caller has closed, and pipes whose other end waits for an answer."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

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
    done = shell(
        f"masscli generate {run_folder} --max-len-b 3 2>&-", tmp_path, "bab\nbab\n\n"
    )
    assert (done.returncode, done.stdout.count("\n")) == (0, 3)
    assert "translated" not in done.stdout


def test_without_stderr_an_error_is_not_among_the_results(tmp_path: Path) -> None:
    done = shell("masscli inspect nothing 2>&-", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")


def test_without_stdin_the_command_says_so(run_folder: Path, tmp_path: Path) -> None:
    done = shell(f"masscli generate {run_folder} <&-", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2:] == [
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
    done = shell(f"masscli {command.replace('RUN', str(run_folder))} >&-", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2:] == [
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


@pytest.mark.parametrize("format", ["text", "jsonl"])
def test_each_line_of_a_pipe_is_answered_at_once(
    format: str, run_folder: Path, tmp_path: Path, preloaded: Preloaded
) -> None:
    command = [
        str(preloaded.program),
        "generate",
        str(run_folder),
        "--buffer-size",
        "1",
    ]
    with subprocess.Popen(
        [*command, "--max-len-b", "3", "--format", format],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        for _ in range(3):
            process.stdin.write(b"bab\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], 60)
            assert ready
            assert os.read(process.stdout.fileno(), 1 << 16).count(b"\n") == 1
        process.stdin.close()
        assert process.wait() == 0
