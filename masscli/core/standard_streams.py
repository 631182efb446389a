"""Make standard input, output and error dependable, whatever the caller has connected them to.

A stream may be closed, full, or in non-blocking mode: a terminal or pipe is in that mode for all its
processes if one of them has chosen it, as Node.js and ssh do. Python's own streams then take a pause of the
other side for the end of the input, and lose output.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any, TextIO, cast

from masscli.core.errors import MasscliError, cannot_be_written


class InputFile(io.RawIOBase):
    """Standard input, unbuffered, which waits until there is something to read."""

    def readable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the file descriptor of standard input."""
        return 0

    def isatty(self) -> bool:
        """Return whether standard input is a terminal."""
        return os.isatty(0)

    def readinto(self, buffer: Any, /) -> int:
        """Read bytes into a buffer, and return how many; 0 is the end of the input."""
        while True:
            try:
                return os.readv(0, [buffer])
            except BlockingIOError:
                _wait_for(0, select.POLLIN)


class ResultFile(io.FileIO):
    """Standard output, unbuffered, which waits until there is room, and whose errors name it."""

    def write(self, data: Any, /) -> int:
        """Write bytes, and return how many were taken.

        After an error everything is dropped, so that Python does not try it again when it ends. Raises
        BrokenPipeError if the reader has gone, and MasscliError for all other errors.
        """
        try:
            return _write_waiting(self.fileno(), data)
        except BrokenPipeError:
            _drop_everything(self.fileno())
            raise
        except OSError as error:
            _drop_everything(self.fileno())
            hint = "leave it open for writing, or send it to a file or /dev/null"
            raise cannot_be_written(
                "standard output", error, hint if error.errno == errno.EBADF else None
            ) from None


class MessageFile(io.FileIO):
    """Standard error, unbuffered. What cannot be written is dropped, and so is everything after it.

    The reader of a pipe may have gone, a terminal may be closed, and a disk may be full. That is no reason to
    stop a training run; results and its log are written to other places, whose errors count.
    """

    def write(self, data: Any, /) -> int:
        """Write bytes, or drop them; return how many were taken."""
        try:
            return _write_waiting(self.fileno(), data)
        except OSError:
            _drop_everything(self.fileno())
            return len(data)


class ClosedOutput(io.TextIOBase):
    """Replaces a standard output that the caller has closed, so that commands without results can run."""

    @property
    def buffer(self) -> ClosedOutput:
        """Return this object, which refuses bytes as well."""
        return self

    def write(self, content: str | bytes) -> int:
        """Raise MasscliError, unless there is nothing to write."""
        if content:
            raise MasscliError(
                "standard output is closed",
                "leave it open, or send it to a file or /dev/null",
            )
        return 0


def replace_standard_streams() -> None:
    """Replace the standard streams of Python by those of this module.

    Results are written in UTF-8 in any locale; messages escape characters which the locale lacks.
    """
    _replace_closed_streams()
    # Tests have streams of their own.
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin = io.TextIOWrapper(io.BufferedReader(InputFile()), encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        raw = ResultFile(sys.stdout.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding="utf-8",
            # The name of a file may consist of any bytes.
            errors="surrogateescape",
            # Python's option -u asks for the latter.
            line_buffering=sys.stdout.line_buffering or sys.stdout.write_through,
        )
    if isinstance(sys.stderr, io.TextIOWrapper):
        raw_messages = MessageFile(sys.stderr.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw_messages),
            encoding=sys.stderr.encoding,
            errors="backslashreplace",
            line_buffering=True,
        )


def _replace_closed_streams() -> None:
    """Replace standard streams that the caller has closed, as in `masscli ... 2>&-`.

    Python sets them to None, and `print(file=None)` would write messages among the results. The first
    files opened would get their descriptors, and receive what libraries write to these.
    """
    streams = (sys.stdin, sys.stdout, sys.stderr)
    for number, stream in enumerate(streams):
        if stream is None:
            # The lowest free number is that of the stream.
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = cast(TextIO, ClosedOutput())
    if sys.stderr is None:
        # It stays open until the process ends.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _write_waiting(descriptor: int, data: Any) -> int:
    """Write bytes to a descriptor, wait before that if it has no room yet, and return how many were taken."""
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            _wait_for(descriptor, select.POLLOUT)


def _wait_for(descriptor: int, event: int) -> None:
    """Wait until a descriptor can be read or written, as `event` says, or has an error."""
    poll = select.poll()
    poll.register(descriptor, event)
    poll.poll()


def _drop_everything(descriptor: int) -> None:
    """Let a descriptor drop what is written to it from now on; libraries write there without Python, too."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
