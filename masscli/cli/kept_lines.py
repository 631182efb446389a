"""Report how many lines `preprocess` kept and dropped: a table, and warnings about what is suspicious."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from masscli.data.storage.manifest import FilterStats, SideStats

MANY_UNKNOWN = 0.001
"""Share of unknown pieces in a text above which a warning is printed."""
MANY_HELD_OUT = 0.01
"""Share of training lines that are also in valid or test, above which a warning is printed."""

LOG_WIDTH = 140
"""Width in columns of tables that are not printed on a terminal."""


def report_console() -> Console:
    """Return a console on standard error, since standard output is for results."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    # A log file is wider than the width that rich assumes for it.
    if not console.is_terminal:
        console.width = LOG_WIDTH
    return console


def table_of_lines(groups: Sequence[FilterStats]) -> Table:
    """Return a table of kept and dropped lines, with a row for each group of files."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("group", no_wrap=True)
    for name in ("lines", "kept", "breaks"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("dropped")
    table.add_column("side")
    for name in ("pieces", "a line", "unknown"):
        table.add_column(name, justify="right", no_wrap=True)
    for stats in groups:
        reasons = [f"{count:,} {reason}" for reason, count in stats.dropped.items()]
        reasons += [
            f"({count:,} {reason}, kept)"
            for reason, count in stats.kept_but_suspicious.items()
        ]
        counts = (f"{stats.lines:,}", f"{stats.kept:,}", f"{stats.document_breaks:,}")
        cells = [stats.group, *counts, ", ".join(reasons) or "none"]
        # The sides of a pair are lines of one cell.
        figures = [_side_figures(side, stats.kept) for side in stats.sides]
        for column in zip(*figures, strict=True):
            cells.append("\n".join(column))
        table.add_row(*cells)
    return table


def _side_figures(side: SideStats, lines: int) -> tuple[str, str, str, str]:
    """Return the table cells of one language: its code, pieces, pieces per line, and share of unknown pieces.

    `lines` is the number of kept lines.
    """
    return (
        side.language,
        f"{side.pieces:,}",
        f"{side.pieces / max(1, lines):.1f}",
        f"{side.unknown / max(1, side.pieces):.3%}",
    )


def line_warnings(groups: Sequence[FilterStats]) -> Iterator[str]:
    """Yield warnings if many lines of a group are also in valid or test, or if many pieces are unknown.

    MANY_HELD_OUT and MANY_UNKNOWN are the shares above which they are many.
    """
    for stats in groups:
        yield from _warnings_of(stats)


def _warnings_of(stats: FilterStats) -> Iterator[str]:
    """Yield warnings about the kept lines of a group: many are also held out, or have unknown pieces."""
    held_out = stats.kept_but_suspicious.get("in valid or test", 0)
    if held_out > MANY_HELD_OUT * stats.lines:
        share = f"{held_out / stats.lines:.1%}"
        yield (
            f"{share} of the lines of {stats.group} are also in valid or test, and kept;"
            " --drop-held-out drops them"
        )
    for side in stats.sides:
        if side.unknown > MANY_UNKNOWN * side.pieces:
            share = f"{side.unknown / side.pieces:.2%}"
            yield f"{share} of the pieces of {side.path} are unknown; does the vocabulary suit it?"
