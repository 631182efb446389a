"""Errors about input files that are missing, or that are not files."""

from __future__ import annotations

from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.text.corpus import missing_file_hint


def no_file(option: str, path: Path) -> MasscliError:
    """Return the error for an option whose path is not a regular file; the caller raises it."""
    if path.is_dir():
        return MasscliError(
            f"{option}: {path} is a folder", "name the file of text in it"
        )
    if path.exists():
        return MasscliError(
            f"{option}: {path} is a pipe or a device, but text is read more than once",
            "write it to a file first; --mono en=- copies standard input",
        )
    return MasscliError(
        f"{option}: there is no file {path}",
        comma_hint(path) or missing_file_hint(path),
    )


def comma_hint(path: Path) -> str | None:
    """Return a hint if a path that does not exist may be one that was cut off at a comma, and None if not."""
    if not path.parent.is_dir():
        return None
    for entry in sorted(path.parent.iterdir()):
        if entry.name.startswith(f"{path.name},"):
            escaped = entry.name.replace(",", "\\,")
            return f"a comma begins another item; if {entry.name} is meant, write '{escaped}'"
    return None
