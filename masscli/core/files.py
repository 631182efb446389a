"""Write files so that no reader, and no crash, ever meets half of one; checksums and locks."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and flush it to the disk."""
    with open(path, "wb") as file:
        file.write(data)
        flush_to_disk(file)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file that appears, or replaces the one before, in one step."""
    with open_atomic(path) as file:
        file.write(data)


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears when the `with` block ends without an error.

    Until then the contents lie in a hidden file beside it, which is removed if there is an error.
    """
    aside = _aside(path)
    # Also an interrupt must not leave the unfinished file behind.
    try:
        with open(aside, "wb") as file:
            yield file
            flush_to_disk(file)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def update_link(link: Path, target: str) -> None:
    """Make a symbolic link, or change its target, in one step."""
    # A symbolic link cannot be changed in place, but another may take its name.
    aside = _aside(link)
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    aside.replace(link)
    fsync_path(link.parent)


def flush_to_disk(file: IO[bytes]) -> None:
    """Flush an open file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def fsync_path(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's contents, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def acquire_lock(path: Path) -> BinaryIO:
    """Lock a file against other processes, until the returned file is closed.

    It also ends with the process, however it ends. Raises BlockingIOError if another process holds the lock.
    """
    # Append mode makes the file without emptying it.
    file = open(path, "ab")  # noqa: SIM115  (the caller closes it)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        file.close()
        raise
    return file


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")
