"""Count the calls of a process that change the disk, and end the process at one of them."""

from __future__ import annotations

import builtins
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

DIED = 77
"""Exit code of a process that was ended here."""
EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
"""Events of Python's audit hooks that announce a change of the disk."""


class Calls:
    """The calls so far; the process ends at number `last`, counted from 1, or not at all if it is 0."""

    def __init__(self, last: int) -> None:
        self.count = 0
        self.last = last
        self.names: list[str] = []

    def add(self, name: str) -> bool:
        """Count a call, and return whether the process must end at it."""
        self.count += 1
        self.names.append(name)
        return self.count == self.last

    def end_at(self, name: str) -> None:
        """Count a call, and end the process if it is the last one."""
        if self.add(name):
            os._exit(DIED)


def watch(last: int) -> Calls:
    """Count the calls of this process from here on."""
    calls = Calls(last)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS:
            calls.end_at(f"{event} {_name(arguments[0])}")
        elif event == "open" and _is_for_writing(arguments[2]) and not _is_device(arguments[0]):
            calls.end_at(f"open {_name(arguments[0])}")

    fsync = os.fsync

    def counted_fsync(descriptor: int) -> None:
        calls.end_at("fsync")
        fsync(descriptor)

    os.fsync = counted_fsync  # type: ignore[assignment]
    _count_writes(calls)
    _count_tensors(calls)
    sys.addaudithook(hook)
    return calls


def _is_for_writing(flags: Any) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _is_device(path: Any) -> bool:
    """Return whether a path is a device, and not a file in the memory disk among them."""
    return str(path).startswith("/dev/") and not str(path).startswith("/dev/shm/")


def _name(path: Any) -> str:
    return Path(os.fsdecode(path)).name if isinstance(path, (str, bytes, os.PathLike)) else str(path)


def _count_writes(calls: Calls) -> None:
    """Let every file that is opened for writing pass through a class that counts, and may write half."""

    class CountedFile(io.FileIO):
        def write(self, data: Any) -> int:
            if calls.add(f"write {_name(self.name)}"):
                super().write(memoryview(data).cast("B")[: len(memoryview(data).cast("B")) // 2])
                os._exit(DIED)
            return super().write(data) or 0

    plain = io.open

    def counted_open(file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None,
                     errors: str | None = None, newline: str | None = None, *more: Any, **options: Any) -> Any:  # fmt: skip
        if not set(mode) & set("wax+") or isinstance(file, int) or _is_device(file):
            return plain(file, mode, buffering, encoding, errors, newline, *more, **options)
        raw = CountedFile(file, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        binary = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return binary
        return io.TextIOWrapper(binary, encoding, errors, newline, line_buffering=buffering == 1)

    builtins.open = io.open = counted_open  # type: ignore[assignment]


def _count_tensors(calls: Calls) -> None:
    """Safetensors files are written by a library of its own, which opens them itself."""
    from masscli.checkpoint import tensor_file

    save = tensor_file.save_file

    def counted_save(tensors: Any, path: Any, *more: Any, **options: Any) -> None:
        calls.end_at(f"open {_name(path)}")
        save(tensors, path, *more, **options)
        if calls.add(f"write {_name(path)}"):
            os.truncate(path, Path(path).stat().st_size // 2)
            os._exit(DIED)

    tensor_file.save_file = counted_save  # type: ignore[assignment]


class Fork(NamedTuple):
    """A forked process, and the pipe from its standard error."""

    process: int
    pipe: int

    def wait(self) -> tuple[int, str]:
        """Return the exit code of the process and what it wrote to standard error."""
        with os.fdopen(self.pipe, "rb") as pipe:
            said = pipe.read().decode(errors="replace")
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1]), said


def fork(action: Callable[[], object]) -> Fork:
    """Begin something in a forked process."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(receive)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            os.dup2(send, 2)
            sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", write_through=True)
            action()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(send)
    return Fork(child, receive)


def in_fork(action: Callable[[], object]) -> tuple[int, str]:
    """Run something in a forked process, and return its exit code and what it wrote to standard error."""
    return fork(action).wait()
