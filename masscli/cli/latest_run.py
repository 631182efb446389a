"""The run that a command uses if none is named: the latest one in the folder that training writes to."""

from __future__ import annotations

import sys
from pathlib import Path

from masscli.core import distributed
from masscli.core.errors import MasscliError

RUNS = Path("runs")
"""The folder that is searched for the latest run, which is also the default folder of training commands."""


def latest_run(command: str) -> Path:
    """Return the run in the folder `runs` whose best or last checkpoint is the newest, and print its name.

    `command` is the command that needs one. Raises MasscliError if there is none.
    """
    states: list[Path] = []
    # A run without validation has no best checkpoint, and a partially copied one may have no last
    # checkpoint.
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
