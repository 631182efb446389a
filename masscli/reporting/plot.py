"""A table of numbers as curves in SVG, written by hand: one panel below another, so that no two scales share an axis."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from masscli.core.errors import MasscliError

WIDTH, HEIGHT, LEFT, BOTTOM, GAP = 640, 200, 70, 24, 36
LARGEST = 1e100
COLOURS = ("#1f5fa8", "#b8471b", "#2f7d3b", "#7a3fa0")


@dataclass(frozen=True)
class Table:
    """Names of the columns, labels of the rows, and (value, deviation) by column; None where there is nothing."""

    names: list[str]
    labels: list[str]
    columns: list[list[tuple[float, float] | None]]


def read_table(lines: Sequence[str], where: str) -> Table:
    """Raises MasscliError where it is no table of numbers."""
    rows = [line.split() for line in lines if line.strip()]
    if len(rows) < 2 or len(rows[0]) < 2:
        raise MasscliError(
            f"{where}: is no table",
            "expected a line of names and lines of values, in columns parted by blanks",
        )
    names = rows[0]
    columns: list[list[tuple[float, float] | None]] = [[] for _ in names[1:]]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            raise MasscliError(f"{where}:{number}: has {len(row)} columns, its first line has {len(names)}")
        for column, value in zip(columns, row[1:], strict=True):
            column.append(_number(value, f"{where}:{number}"))
    return Table(names, [row[0] for row in rows[1:]], columns)


def draw(table: Table) -> str:
    """The text of an SVG file."""
    try:
        xs = [float(label) for label in table.labels]
        if not all(map(math.isfinite, xs)):
            raise ValueError
    except ValueError:
        xs = [float(n) for n in range(len(table.labels))]
    low, high = min(xs), max(xs)
    at = [LEFT + (WIDTH - LEFT - 20) * ((x - low) / (high - low) if high > low else 0.5) for x in xs]
    panels = [_panel(table, n, at, n * (HEIGHT + GAP) + GAP) for n in range(len(table.columns))]
    height = len(panels) * (HEIGHT + GAP) + GAP + 10
    style = "<style>text{font:12px sans-serif;fill:#222}</style>"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">{style}\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{"".join(panels)}</svg>\n'
    )


def _panel(table: Table, n: int, at: Sequence[float], top: int) -> str:
    """One column against the first."""
    points = [(x, *value) for x, value in zip(at, table.columns[n], strict=True) if value is not None]
    if not points:
        return ""
    low, high = min(v - d for _, v, d in points), max(v + d for _, v, d in points)
    room = (high - low or abs(high) or 1.0) * 0.08
    low, high, floor = low - room, high + room, top + HEIGHT - BOTTOM
    colour = COLOURS[n % len(COLOURS)]

    def y(value: float) -> float:
        return floor - (value - low) / (high - low) * (HEIGHT - BOTTOM)

    parts = [f'<text x="{LEFT}" y="{top - 8}" style="font-weight:bold">{escape(table.names[n + 1])}</text>']
    for tick in _ticks(low, high):
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#ddd"/>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for x, label in zip(at, table.labels, strict=True):
        parts.append(f'<text x="{x:.1f}" y="{floor + 16}" text-anchor="middle">{escape(label)}</text>')
    parts.append(f'<text x="{LEFT - 6}" y="{floor + 16}" text-anchor="end">{escape(table.names[0])}</text>')
    line = " ".join(f"{x:.1f},{y(v):.1f}" for x, v, _ in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for x, v, d in points:
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y(v):.1f}" r="3.5" fill="{colour}"><title>{v:g}</title></circle>'
        )
        if d:
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y(v - d):.1f}" y2="{y(v + d):.1f}" stroke="{colour}"/>'
            )
    return "\n".join(parts) + "\n"


def _number(text: str, where: str) -> tuple[float, float] | None:
    if text == "-":
        return None
    found = re.fullmatch(r"([-+.\deE]+?)(?:\+-([.\deE-]+))?", text)
    try:
        value, deviation = float(found[1] if found else text), float(found[2] or 0.0) if found else 0.0
    except ValueError:
        raise MasscliError(f"{where}: {text!r} is no number") from None
    if max(abs(value), deviation) > LARGEST and math.isfinite(value) and math.isfinite(deviation):
        raise MasscliError(f"{where}: {text!r} is too large to be drawn")
    return (value, deviation) if math.isfinite(value) and math.isfinite(deviation) else None


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between, about five."""
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 6)
    return [round(k * step, 12) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
