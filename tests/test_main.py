"""What the outermost layer makes of errors."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from masscli import __main__ as main
from masscli.cli.output import writer
from masscli.core.stopping import end_on_signals, stop_on_signals


def test_messages_show_control_characters_as_escapes(
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


@pytest.fixture
def handlers() -> Iterator[None]:
    """The handlers of signals, as they are when a program starts and as they were before."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "stopped by SIGINT\n"),
        (signal.SIGTERM, 143, "stopped by SIGTERM\n"),
        (signal.SIGHUP, 129, "stopped by SIGHUP\n"),
    ],
)
@pytest.mark.usefixtures("handlers")
def test_a_signal_ends_a_command_in_order(
    number: signal.Signals,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Unfinished output is removed, and earlier files stay."""
    path = tmp_path / "out"
    path.write_text("old")

    def write(args: object) -> int:
        with writer(path) as write_text:
            write_text("half")
            signal.raise_signal(number)
        return 0

    monkeypatch.setattr("masscli.cli.app.dispatch", write)
    stop_on_signals()
    assert main.run([]) == code
    assert capsys.readouterr().err == said
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [
        ("out", "old")
    ]


@pytest.mark.usefixtures("handlers")
def test_ignored_signals_stay_ignored() -> None:
    """nohup ignores SIGHUP, and a shell ignores Ctrl-C for jobs in the background."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for change in (stop_on_signals, end_on_signals):
        change()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGHUP)


def test_a_signal_after_the_work_ends_the_process_without_a_traceback() -> None:
    code = (
        "import atexit, signal, sys; from masscli.__main__ import main; sys.argv[1:] = ['--version'];"
        "atexit.register(signal.raise_signal, signal.SIGINT);"
        "signal.signal(signal.SIGINT, signal.default_int_handler); main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (-signal.SIGINT, "")
    assert result.stdout.startswith("masscli ")


def test_no_process_keeps_a_command_from_ending() -> None:
    """One that ignores the SIGTERM with which Python ends it may be left after a second Ctrl-C."""
    code = (
        "import multiprocessing, signal, sys; from masscli.__main__ import main; sys.argv[1:] = ['--version'];"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "fork = multiprocessing.get_context('fork'); fork.Process(target=signal.pause, daemon=True).start();"
        "main()"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(command, capture_output=True, timeout=20)
    assert (result.returncode, result.stderr) == (0, b"")


MESSAGES = (
    "import os, sys; from masscli.__main__ import main; sys.argv[1:] = ['--version'];"
    "from masscli.cli import app; {};"
    "app.dispatch = lambda args: [print('lost', file=sys.stderr) for _ in range(9)] and print('kept') or 0;"
    "main()"
)
"""A program of which standard error cannot be written: {} makes it so."""


@pytest.mark.parametrize(
    "loss",
    [
        "ends = os.pipe(); os.dup2(ends[1], 2); os.close(ends[1]); os.close(ends[0])",
        "ends = os.openpty(); os.dup2(ends[1], 2); os.close(ends[1]); os.close(ends[0])",
        "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)",
    ],
    ids=["pipe", "terminal", "disk"],
)
def test_messages_that_nobody_can_read_are_not_an_error(loss: str) -> None:
    """A run must continue if the terminal is closed or `tee` has ended."""
    command = [sys.executable, "-c", MESSAGES.format(loss)]
    result = subprocess.run(command, stdout=subprocess.PIPE)
    assert (result.returncode, result.stdout) == (0, b"kept\n")


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
    text = tmp_path / "text"
    text.write_text("a b c d\n")
    for options in ([str(path), "--ref", str(path)], [str(text), "--ref", str(text)]):
        assert main.run(["score", *options, "--append", str(path)]) == 2
        assert capsys.readouterr().err.splitlines()[-2:] == [
            f"error: {path}: Too many levels of symbolic links",
            "hint: a link leads to itself: remove it",
        ]


def test_an_output_that_is_a_link_to_itself_is_replaced(tmp_path: Path) -> None:
    path, text = tmp_path / "loop.tsv", tmp_path / "text"
    path.symlink_to(path.name)
    text.write_text("a b c d\n")
    command = ["filter", str(text), str(text), "-s", "en", "-t", "de"]
    output = str(tmp_path / "clean")
    assert main.run([*command, "--output", output, "--scores", str(path)]) == 0
    assert path.read_text().startswith("line\t")


def test_scores_need_no_temporary_folder(tmp_path: Path) -> None:
    """A read-only container has no place for temporary files, and a library of sacreBLEU asks for one."""
    (tmp_path / "text").write_text("a b c d\n")
    command = [sys.executable, "-B", "-m", "masscli", "score", "text", "--ref", "text"]

    def forbid_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    result = subprocess.run(
        command,
        cwd=tmp_path,
        preexec_fn=forbid_files,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, "Traceback" in result.stderr) == (0, False)
    assert "100.0" in result.stdout
    # A program that uses masscli is still told that there is no such folder.
    code = "import tempfile, masscli.metrics.sacrebleu_metrics; tempfile.gettempdir()"
    result = subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=tmp_path,
        preexec_fn=forbid_files,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "FileNotFoundError" in result.stderr
    assert "No usable temporary directory" in result.stderr
