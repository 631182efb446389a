"""Append to files that several processes may write to, and lock files."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from masscli.core.atomic_files import naming_full_file
from masscli.core.files import real_path, require_regular


def append_json_lines(path: Path, lines: bytes) -> None:
    """Append whole lines to a JSON Lines file; lines that other processes append are not mixed with them.

    An unfinished object that a killed process has left at the end is removed, and a missing line end is
    added. On a full disk nothing is appended, and a new file is removed. Raises OSError if the file cannot be
    written, and MasscliError if the path is that of a folder, a pipe or a device.
    """
    is_new = not path.exists()
    if not is_new:
        require_regular(path)
    with naming_full_file(path), _open_locked(path) as file:
        _end_last_line(file)
        end = file.seek(0, os.SEEK_END)
        try:
            # An unbuffered write may write less than it is given.
            while lines:
                lines = lines[file.write(lines) :]
        except OSError:
            file.truncate(end)
            if is_new and end == 0:
                real_path(path).unlink()
            raise


def _open_locked(path: Path) -> FileIO:
    """Open a file for appending, unbuffered, and lock it; it is created if it does not exist."""
    while True:
        file = open(path, "a+b", buffering=0)  # noqa: SIM115
        # A disk may have no locks; small amounts are appended in one step there, too.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        # While this process waited, another one may have removed the file, as it does on a full disk.
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        file.close()


def _end_last_line(file: FileIO) -> None:
    """Make a JSON Lines file end in a line end, in place.

    If its last line has none, the line is removed if it is an unfinished object, and completed by a line end
    otherwise.
    """
    file.seek(0)
    content = file.read()
    last = content[content.rfind(b"\n") + 1 :]
    if not last:
        return
    try:
        json.loads(last)
        is_half = False
    except RecursionError:
        is_half = False
    except ValueError:
        # Anything else was not left by a killed process, and is reported when the file is read.
        is_half = last.startswith(b"{")
    if is_half:
        file.truncate(len(content) - len(last))
    else:
        file.write(b"\n")


def open_for_appending(path: Path) -> BinaryIO:
    """Open a regular file for appending, and create it if it does not exist.

    Raises MasscliError for a folder, a pipe or a device: opening a pipe may take forever.
    """
    if path.exists():
        require_regular(path)
    return open(path, "ab")


def acquire_lock(path: Path) -> BinaryIO:
    """Create a file if it does not exist, lock it against other processes, and return it opened.

    The lock ends when the returned file is closed, or with the process. Raises BlockingIOError if
    another process holds the lock, and MasscliError if `path` exists but is not a regular file.
    """
    file = open_for_appending(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        file.close()
        raise
    return file
