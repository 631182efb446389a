"""Standard error for messages: a command goes on without them where nobody can read them any more."""

from __future__ import annotations

import io
import os
import sys
from typing import Any


class MessageFile(io.FileIO):
    """Standard error, unbuffered. What cannot be written is dropped, and so is everything after it.

    The reader of a pipe may have gone, a terminal may be closed, and a disk may be full. That is no reason to
    stop a training run; results and its log are written to other places, whose errors count.
    """

    def write(self, data: Any, /) -> int:
        """Write bytes, or drop them; return how many were taken."""
        try:
            return super().write(data)
        except OSError:
            # Libraries write there without Python.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return len(data)


def keep_messages_from_failing() -> None:
    """Replace sys.stderr by one that never fails, and that escapes characters which the locale lacks."""
    if isinstance(sys.stderr, io.TextIOWrapper):
        raw = MessageFile(sys.stderr.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=sys.stderr.encoding,
            errors="backslashreplace",
            line_buffering=True,
        )
