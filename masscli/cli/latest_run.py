"""The run that a command takes when none is named: the latest one where training writes them."""

from __future__ import annotations

import sys
from pathlib import Path

from masscli.core import distributed
from masscli.core.errors import MasscliError

RUNS = Path("runs")
"""The folder in which the latest run is looked for; training commands write theirs there."""


def latest_run(command: str) -> Path:
    """Return the run in the folder `runs` whose best or last checkpoint is the newest, and print its name.

    `command` is the command that needs one. Raises MasscliError if there is none.
    """
    states: list[Path] = []
    # A run without validation has no best checkpoint, and one that was copied in part may have no last one.
    for link in ("last", "best"):
        states += RUNS.glob(f"*/checkpoints/{link}/state.json")
    if not states:
        raise MasscliError(
            f"there is no run under {RUNS}",
            f"train one with `masscli finetune`, or name its folder: masscli {command} RUN",
        )
    # The name breaks ties of files that were copied together.
    latest = max(
        states, key=lambda state: (state.stat().st_mtime_ns, str(state))
    ).parents[2]
    if distributed.rank == 0:
        print(f"run: {latest}", file=sys.stderr)
    return latest
