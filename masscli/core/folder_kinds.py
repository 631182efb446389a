"""What a folder of masscli holds, so that the files of one kind are not written among those of another."""

from __future__ import annotations

from pathlib import Path

from masscli.core.errors import MasscliError

_MARKS = {
    "a data folder": ("manifest.json", "part.json", ".partial"),
    "a checkpoint": ("state.json",),
    "a run": ("checkpoints/last", "recipe.toml", "log.jsonl"),
}
"""Names of files and folders, any of which shows the kind of a folder."""


def require_kind(folder: Path, kind: str, option: str) -> None:
    """Raise MasscliError if a folder of masscli is of another kind than `kind`, such as "a run".

    `option` is the flag that names the folder. A folder that is new, or holds other files, is accepted.
    """
    for other, marks in _MARKS.items():
        if other != kind and any((folder / mark).exists() for mark in marks):
            raise MasscliError(
                f"{option} {folder}: is {other}, not {kind}",
                f"choose another folder with {option}",
            )
