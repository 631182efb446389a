"""What the outermost layer makes of errors."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from masscli import __main__ as main


def test_messages_show_what_a_terminal_would_hide_or_obey(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.report_error("x: 'a\0b\x1b[2J\u202ec\ud800é'\ny: z", "d\re") == 2
    assert capsys.readouterr().err == (
        "error: x: 'a\\x00b\\x1b[2J\\u202ec\\ud800é'\nerror: y: z\nhint: d\\re\n"
    )


@pytest.mark.parametrize(
    "number",
    [
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EFBIG,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.EIO,
    ],
)
def test_states_of_the_machine_are_one_line(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: object) -> int:
        raise OSError(number, os.strerror(number), "file")

    monkeypatch.setattr("masscli.cli.app.dispatch", fail)
    assert main.run([]) == 2
    first, hint = capsys.readouterr().err.splitlines()
    assert first == f"error: file: {os.strerror(number)}" and hint.startswith("hint: ")


@pytest.mark.parametrize(
    "make", ["torch.empty(2**50)", "numpy.empty(2**55)", "bytes(2**60)"]
)
def test_a_lack_of_memory_is_one_line(
    make: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: object) -> int:
        eval(make, {"torch": torch, "numpy": np})
        return 0

    monkeypatch.setattr("masscli.cli.app.dispatch", fail)
    assert main.run([]) == 2
    first, hint = capsys.readouterr().err.splitlines()
    assert first == "error: there is not enough memory"
    assert hint.startswith("hint: compute less at a time (--max-tokens")


class _Killed:
    """A dataset whose examples end the process that reads them, as the system does for lack of memory."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return number


def test_a_killed_worker_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: object) -> int:
        loader: DataLoader[int] = DataLoader(_Killed(), num_workers=1)  # type: ignore[arg-type]
        return len(list(loader))

    monkeypatch.setattr("masscli.cli.app.dispatch", fail)
    assert main.run([]) == 2
    first, hint = capsys.readouterr().err.splitlines()
    assert first.startswith("error: a process that prepares batches has ended (")
    assert "--num-workers 0" in hint


def test_another_error_of_pytorch_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(args: object) -> int:
        torch.empty(2, 3) @ torch.empty(2, 3)
        return 0

    monkeypatch.setattr("masscli.cli.app.dispatch", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        main.run([])


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: object) -> int:
        raise OSError(errno.EBADF, "bad file descriptor")

    monkeypatch.setattr("masscli.cli.app.dispatch", fail)
    with pytest.raises(OSError, match="bad file descriptor"):
        main.run([])


def test_a_link_to_itself_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "loop.txt"
    path.symlink_to(path.name)
    assert main.run(["score", str(path), "--ref", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_scores_need_no_temporary_folder(tmp_path: Path) -> None:
    """A read-only container has no place for temporary files, and a library of sacreBLEU asks for one."""
    (tmp_path / "text").write_text("a b c d\n")
    command = [sys.executable, "-B", "-m", "masscli", "score", "text", "--ref", "text"]

    def forbid_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    done = subprocess.run(
        command,
        cwd=tmp_path,
        preexec_fn=forbid_files,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "100.0" in done.stdout
    # A program that uses masscli is still told that there is no such folder.
    code = "import tempfile, masscli.metrics.sacrebleu_metrics; tempfile.gettempdir()"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=tmp_path,
        preexec_fn=forbid_files,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "FileNotFoundError" in done.stderr
    assert "No usable temporary directory" in done.stderr
