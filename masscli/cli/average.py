"""Average the weights of several checkpoints.

Examples:
  masscli average runs/ende --last 5 --output runs/ende-avg
  masscli average runs/ende/checkpoints/step-0004000 runs/ende/checkpoints/step-0005000 --output runs/ende-avg
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from masscli.cli.messages import warn
from masscli.core.files import given_again
from masscli.core.listing import count_of


def run(
    paths: Annotated[
        list[Path], typer.Argument(help="Checkpoints or runs.", metavar="PATH")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder of the new run.", metavar="FOLDER"),
    ],
    last: Annotated[
        int | None,
        typer.Option(
            "--last",
            help="Average the last N checkpoints of each run (default: one checkpoint per path, of a run "
            "its best or else its last).",
            min=1,
        ),
    ] = None,
) -> None:
    """Write a run with the mean of the weights, and print the path of its checkpoint."""
    import sys

    from masscli.checkpoint.average import average, mixture_warnings, open_members

    members = open_members(paths, last)
    for again in given_again(member.path for member in members):
        warn(f"{again}: is given twice, and so counts twice in the mean")
    warn(*mixture_warnings(members))
    path = average(members, output)
    names = ", ".join(str(member.path) for member in members)
    print(
        f"the mean of {count_of(len(members), 'checkpoint')}: {names}", file=sys.stderr
    )
    # Scripts read the path from standard output.
    print(path)
