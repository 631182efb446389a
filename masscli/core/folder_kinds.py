"""Recognize what kind of folder masscli has written, so that files of different kinds are not mixed."""

from __future__ import annotations

from pathlib import Path

from masscli.core.errors import MasscliError

PART_FILE = "part.json"
"""The file that describes a part of a corpus, in the folder that `preprocess --part` writes."""
PART_HINT = "it is a part of a corpus: masscli merge-data joins all parts"
_MARKS = {
    "a data folder": ("manifest.json", PART_FILE, ".partial"),
    "a checkpoint": ("state.json",),
    "a run": ("checkpoints/last", "recipe.toml", "log.jsonl"),
}
"""For each kind of folder, the names of files and folders that identify it; one is enough."""


def require_kind(folder: Path, kind: str, option: str) -> None:
    """Raise MasscliError if a masscli folder is of a different kind than `kind`, such as "a run".

    `option` is the flag that names the folder. A folder that is new, or contains other files, is
    accepted.
    """
    for other, marks in _MARKS.items():
        if other != kind and any((folder / mark).exists() for mark in marks):
            raise MasscliError(
                f"{option} {folder}: is {other}, not {kind}",
                f"choose another folder with {option}",
            )
