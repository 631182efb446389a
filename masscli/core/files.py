"""Paths and regular files: what leads to the same file, whether it has changed, contents and checksums."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from masscli.core.errors import MasscliError


def real_path(path: Path) -> Path:
    """Return the absolute path with all symbolic links followed, except for one that leads to itself."""
    return Path(os.path.realpath(path))


def given_again(paths: Iterable[Path]) -> list[Path]:
    """Return those paths that lead to the same file or folder as an earlier one, however they are spelled."""
    places: set[Path] = set()
    again = []
    for path in paths:
        place = real_path(path)
        if place in places:
            again.append(path)
        places.add(place)
    return again


class FileState(NamedTuple):
    """The size and the time of the last change of a file, which tell whether it has changed meanwhile."""

    size: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Return the present state of a file. Raises OSError if there is none."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


def require_unchanged(states: Mapping[Path, FileState]) -> None:
    """Raise MasscliError if a file is no longer in the given state, because something writes to it.

    It is for files that are read several times, and would be read as a mixture of two versions.
    """
    for path, state in states.items():
        try:
            is_same = FileState.of(path) == state
        except OSError:
            is_same = False
        if not is_same:
            raise MasscliError(
                f"{path}: has changed while it was read",
                "run the same command again when nothing writes to it",
            )


def broken_link_hint(path: Path) -> str | None:
    """Return a hint if `path`, or a folder on the way to it, is a link to something that does not exist.

    Otherwise return None.
    """
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            return f"{place} is a link to {place.readlink()}, which does not exist"
    return None


def read_regular(path: Path) -> bytes:
    """Return the contents of a regular file.

    Raises MasscliError if it is a folder, a pipe or a device: reading from a pipe may never end. Raises
    OSError if there is no such file, or if it may not be read.
    """
    require_regular(path)
    return path.read_bytes()


def require_regular(path: Path) -> None:
    """Raise MasscliError if `path` is a folder, a pipe or a device, and OSError if it does not exist."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise MasscliError(f"{path}: is not a file, but a folder, a pipe or a device")


def read_named(path: Path, option: str) -> bytes:
    """Return the contents of a regular file that the user names with an option, such as `--bpe-codes`.

    Raises MasscliError, which names option and file, if it cannot be read.
    """
    try:
        return read_regular(path)
    except OSError as error:
        raise MasscliError(f"{option} {path}: {error.strerror}") from None
    except MasscliError as error:
        raise MasscliError(
            f"{option} {error.message}", "name a file; copy a pipe into one first"
        ) from None


def sha256_of(path: Path) -> str:
    """Return the sha256 of a regular file's contents, in hexadecimal.

    Raises MasscliError for a folder, a pipe or a device, and OSError if the file cannot be read.
    """
    require_regular(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
