"""Find the folder of the checkpoint that a path stands for: a checkpoint, or a run, which has several."""

from __future__ import annotations

import re
from pathlib import Path

from masscli.checkpoint.state_file import STATE_FILE
from masscli.core.errors import MasscliError
from masscli.core.files import broken_link_hint
from masscli.core.folder_kinds import PART_FILE, PART_HINT
from masscli.core.listing import list_some

LISTED_RUNS = 8
"""How many runs in a folder of runs an error names."""
_STEP_FOLDER = re.compile(r"step-(\d+)")
FOREIGN_SUFFIXES = (".pt", ".pth", ".bin")
"""Suffixes of the files in which other programs store models."""


def find_checkpoint(path: Path) -> Path:
    """Return the folder of the checkpoint that a path refers to.

    The path is that of a checkpoint, or of a run, which refers to its best checkpoint, or to its last
    one if none is marked as the best. Raises MasscliError if there is none.
    """
    # A folder step-N without its state is a damaged checkpoint, not a run without checkpoints.
    is_step = path.is_dir() and _STEP_FOLDER.fullmatch(path.resolve().name) is not None
    if is_step or (path / STATE_FILE).exists():
        return path
    for name in ("best", "last"):
        if (path / "checkpoints" / name).is_dir():
            return (path / "checkpoints" / name).resolve()
    # A kill between the first save and its links leaves a run without links.
    steps = saved_checkpoints(path)
    if steps:
        return steps[max(steps)]
    raise _no_checkpoint(path)


def saved_checkpoints(run: Path) -> dict[int, Path]:
    """Return the folders of all checkpoints of a run by step, in ascending order, without verifying them."""
    checkpoints = {}
    for path in (run / "checkpoints").glob("step-*"):
        name = _STEP_FOLDER.fullmatch(path.name)
        if name is not None and path.is_dir():
            checkpoints[int(name[1])] = path
    # By number: from 10,000,000 on, names have more digits and would sort differently.
    return dict(sorted(checkpoints.items()))


def _no_checkpoint(path: Path) -> MasscliError:
    """Return the error that a path has no checkpoint, which says what is there; the caller raises it."""
    if not path.exists():
        return MasscliError(
            f"{path}: no such run or checkpoint",
            broken_link_hint(path)
            or "train one with `masscli pretrain` or `masscli finetune`",
        )
    if _is_foreign(path):
        return MasscliError(
            f"{path}: is a model of another program, not a run of masscli",
            f"`masscli import {path} --output RUN` makes a run of it",
        )
    if path.is_file():
        return MasscliError(
            f"{path}: is a file, expected the folder of a run or of a checkpoint",
            "name that folder; `masscli import` makes a run of the weights of another program",
        )
    return MasscliError(f"{path}: holds no checkpoint", _hint_for_folder(path))


def _hint_for_folder(path: Path) -> str:
    """Return what to give instead of a folder that is not a run."""
    if (path / PART_FILE).is_file():
        return PART_HINT
    runs = sorted(str(folder.parent) for folder in path.glob("*/checkpoints"))
    if runs:
        return f"it is a folder of runs: name one of {list_some(runs, LISTED_RUNS)}"
    return "give the folder of a run, or one of its checkpoints/step-N"


def _is_foreign(path: Path) -> bool:
    """Return whether a path looks like a file or folder of weights that `masscli import` reads."""
    return path.suffix in FOREIGN_SUFFIXES or (path / "config.json").is_file()
