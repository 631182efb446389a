"""The table that is printed: a line for each row and program, and a description of the machine."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from tests.benchmarks.speed.measure import Figure, Row, Value, summarize

HEAD = "| | program | median | range | |\n|---|---|---:|---|---|"


def table_lines(
    row: Row, values: Mapping[str, Sequence[Value]], clock: str
) -> list[str]:
    """Return the lines of the table for one row, with the values by one clock, `wall` or `cpu`."""
    figures = {}
    for name, repetitions in values.items():
        figures[name] = summarize([getattr(value, clock) for value in repetitions])
    lines = []
    title = f"**{row.name}**, {row.unit}"
    for contestant in row.contestants:
        figure = figures[contestant.name]
        spread = f"{shown(figure.low)} to {shown(figure.high)}"
        note = comparison(row, figures, contestant.name)
        lines.append(
            f"| {title} | {contestant.name} | {shown(figure.median)} | {spread} | {note} |"
        )
        title = ""
    for peer, reason in row.missing.items():
        lines.append(f"| | {peer} | | | left out: {reason} |")
    return lines


def comparison(row: Row, figures: Mapping[str, Figure], name: str) -> str:
    """Return what share of the ceiling a program reaches, and how masscli compares with it."""
    notes = []
    value = figures[name].median
    if row.ceiling is not None:
        notes.append(f"{value / figures[row.ceiling.name].median:.0%} of the ceiling")
    own_name = row.contestants[0].name
    own = figures[own_name].median
    if name != own_name and row.lower_is_better:
        notes.append(f"{own_name} needs {own / value:.2f} times as much")
    if name != own_name and not row.lower_is_better:
        notes.append(f"{own_name} is {own / value:.2f} times as fast")
    return "; ".join(notes)


def as_json(row: Row, values: Mapping[str, Sequence[Value]]) -> dict[str, object]:
    """Return the values of a row, by both clocks, as plain data."""
    by_name = {
        name: [asdict(value) for value in repetitions]
        for name, repetitions in values.items()
    }
    return {
        "row": row.name,
        "unit": row.unit,
        "values": by_name,
        "missing": row.missing,
    }


def shown(value: float) -> str:
    """Return a value with three or more digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def describe_machine() -> str:
    """Return a line about the processor, Python and PyTorch."""
    model = platform.processor()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = [
            line
            for line in information.read_text().splitlines()
            if line.startswith("model")
        ]
        # Each core is listed with the same number and name of its model.
        model = ", ".join(
            dict.fromkeys(line.split(":", 1)[1].strip() for line in lines)
        )
    threads = torch.get_num_threads()
    return f"{model}; Python {platform.python_version()}, torch {torch.__version__}, {threads} thread(s)"
