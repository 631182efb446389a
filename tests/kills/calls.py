"""Count the calls of a process that change the disk, and end the process, or fill the disk, at one of them."""

from __future__ import annotations

import builtins
import errno
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError

DIED = 77
"""Exit code of a process that was ended here."""
EVENTS = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
)
"""Events of Python's audit hooks that announce a change of the disk."""
NEEDS_ROOM = (
    "open",
    "write",
    "fsync",
    "os.rename",
    "os.mkdir",
    "os.link",
    "os.symlink",
)
"""The calls that fail on a full disk; files can still be removed."""


class Calls:
    """The calls so far; the process ends at number `last`, counted from 1, or not at all if it is 0.

    With `is_full_from`, the process goes on, but from call `last` on the disk is full.
    """

    def __init__(self, last: int, is_full_from: bool) -> None:
        self.count = 0
        self.last = last
        self.is_full_from = is_full_from
        self.names: list[str] = []

    def add(self, name: str) -> bool:
        """Count a call, and return whether it must fail."""
        self.count += 1
        self.names.append(name)
        if self.is_full_from:
            return self.count >= self.last and name.split()[0] in NEEDS_ROOM
        return self.count == self.last

    def fail(self, path: Any = None) -> None:
        """End the process or, on a full disk, raise OSError."""
        if not self.is_full_from:
            os._exit(DIED)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def fail_in_library(self) -> None:
        """End the process or, on a full disk, raise what the library of safetensors raises."""
        try:
            self.fail()
        except OSError as error:
            raise SafetensorError(
                f"Error while serializing: I/O error: {error.strerror} (os error {error.errno})"
            ) from None

    def end_at(self, name: str, path: Any = None) -> None:
        """Count a call on a file, and fail if it is the last one."""
        if self.add(name):
            self.fail(path)


def watch(last: int, is_full_from: bool = False) -> Calls:
    """Count the calls of this process from here on, and let it end, or its disk be full, at call `last`."""
    calls = Calls(last, is_full_from)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS:
            calls.end_at(f"{event} {_name(arguments[0])}", arguments[0])
        elif (
            event == "open"
            and _is_for_writing(arguments[2])
            and not _is_device(arguments[0])
        ):
            calls.end_at(f"open {_name(arguments[0])}", arguments[0])

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
    return isinstance(flags, int) and bool(
        flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    )


def _is_device(path: Any) -> bool:
    """Return whether a path is a device, and not a file in the memory disk among them."""
    return str(path).startswith("/dev/") and not str(path).startswith("/dev/shm/")


def _name(path: Any) -> str:
    return (
        Path(os.fsdecode(path)).name
        if isinstance(path, (str, bytes, os.PathLike))
        else str(path)
    )


def _count_writes(calls: Calls) -> None:
    """Let every file that is opened for writing pass through a class that counts, and may write half."""

    class CountedFile(io.FileIO):
        def write(self, data: Any) -> int:
            if calls.add(f"write {_name(self.name)}"):
                super().write(
                    memoryview(data).cast("B")[: len(memoryview(data).cast("B")) // 2]
                )
                calls.fail()
            return super().write(data) or 0

    plain = io.open

    def counted_open(file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None,
                     errors: str | None = None, newline: str | None = None, *more: Any, **options: Any) -> Any:  # fmt: skip
        if not set(mode) & set("wax+") or isinstance(file, int) or _is_device(file):
            return plain(
                file, mode, buffering, encoding, errors, newline, *more, **options
            )
        raw = CountedFile(file, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        binary = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return binary
        return io.TextIOWrapper(
            binary, encoding, errors, newline, line_buffering=buffering == 1
        )

    builtins.open = io.open = counted_open  # type: ignore[assignment]


def _count_tensors(calls: Calls) -> None:
    """Safetensors files are written by a library of its own, which opens them itself."""
    from masscli.checkpoint import tensor_file

    save = tensor_file.save_file

    def counted_save(tensors: Any, path: Any, *more: Any, **options: Any) -> None:
        if calls.add(f"open {_name(path)}"):
            calls.fail_in_library()
        save(tensors, path, *more, **options)
        if calls.add(f"write {_name(path)}"):
            os.truncate(path, Path(path).stat().st_size // 2)
            calls.fail_in_library()

    tensor_file.save_file = counted_save  # type: ignore[assignment]


class Fork(NamedTuple):
    """A forked process, and the pipe from its standard error."""

    process: int
    pipe: int

    def wait(self) -> tuple[int, str]:
        """Return the exit code of the process and what it wrote to standard error."""
        with os.fdopen(self.pipe, "rb") as pipe:
            printed = pipe.read().decode(errors="replace")
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1]), printed


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
            sys.stderr = io.TextIOWrapper(
                io.FileIO(2, "w", closefd=False), "utf-8", write_through=True
            )
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
