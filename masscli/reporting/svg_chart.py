"""Draw line charts as SVG elements for an HTML page; they need no script, font or other file.

Colors come from the style sheet of the page (classes c0, c1, ...), so that a chart follows its light or dark
theme. A point shows its value when the pointer rests on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 520, 240
"""Size of a chart in the units of its view box."""
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 30, 34
"""Margins around the area of the curves, in the same units, for the title and the numbers at the axes."""
MAX_POINTS = 240
"""Maximum number of points of a curve; a longer curve is drawn through means of adjacent points."""
MARKED_POINTS = 40
"""Maximum number of points of a curve for which each point gets a visible mark."""
COLORS = 8
"""Number of colors for curves in the style sheet of the page."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve of a line chart, with its name and its color."""

    name: str
    """Name of its points in tooltips."""
    points: tuple[tuple[float, float], ...]
    """The points as (x, y), in the order of x."""
    color: int
    """Number of the color in the style sheet of the page, from 0, modulo `COLORS`."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear scale: it maps values from `low` to `high` to positions in the chart from `begin` to `end`."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        return self.begin + (value - self.low) / (self.high - self.low) * (
            self.end - self.begin
        )


def line_chart(
    title: str, curves: Sequence[Curve], best: tuple[float, float] | None = None
) -> str:
    """Return a line chart as an SVG element; `best` is a point (x, y) to mark with a ring.

    Points that are not finite are left out. A chart without points shows a note instead.
    """
    drawn = []
    for curve in curves:
        thinned = _thinned(curve)
        if thinned.points:
            drawn.append(thinned)
    heading = f'<text class="title" x="{LEFT}" y="16">{escape(title)}</text>'
    if not drawn:
        return _svg(
            title,
            f'{heading}<text class="tick" x="{LEFT}" y="60">nothing was logged</text>',
        )
    # All curves share both axes, so that they can be compared.
    xs: list[float] = []
    ys: list[float] = []
    for curve in drawn:
        for x, y in curve.points:
            xs.append(x)
            ys.append(y)
    across = _scale(xs, LEFT, WIDTH - RIGHT)
    up = _scale(ys, HEIGHT - BOTTOM, TOP, margin=0.05)
    # Later elements are drawn over earlier ones.
    parts = [heading, *_grid(across, up)]
    for curve in drawn:
        parts.append(_path(curve, across, up))
    if best is not None:
        x, y = across(best[0]), up(best[1])
        parts.append(
            f'<circle class="best" cx="{x:.1f}" cy="{y:.1f}" r="6"><title>best: {_number(best[1])} at '
            f"{_number(best[0])}</title></circle>"
        )
    return _svg(title, "".join(parts))


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers between `low` and `high` for the ticks of an axis, at most `count` + 1 of them.

    They are the multiples of a step that is 1, 2 or 5 times a power of ten. `low` must be below `high`.
    """
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    steps = [power, 2 * power, 5 * power, 10 * power]
    step = next(step for step in steps if step >= rough)
    # A limit that is a multiple itself has a tick, also if the division is a little off.
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _svg(title: str, inside: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{inside}</svg>"
    )


def _thinned(curve: Curve) -> Curve:
    """Return a curve without points that are not finite, thinned out to at most MAX_POINTS points.

    Each point of a thinned curve has the mean value of some successive points, at the place of the last one.
    """
    points = [point for point in curve.points if all(map(math.isfinite, point))]
    if len(points) > MAX_POINTS:
        size = math.ceil(len(points) / MAX_POINTS)
        thinned = []
        for first in range(0, len(points), size):
            group = points[first : first + size]
            last_x, _ = group[-1]
            mean = math.fsum(y for _, y in group) / len(group)
            thinned.append((last_x, mean))
        points = thinned
    return Curve(curve.name, tuple(points), curve.color)


def _scale(
    values: Sequence[float], begin: float, end: float, margin: float = 0.0
) -> Scale:
    low, high = min(values), max(values)
    # A single value needs an interval around it.
    if low == high:
        around = abs(low) * 0.1 or 1.0
        low, high = low - around, high + around
    space = (high - low) * margin
    return Scale(low - space, high + space, begin, end)


def _grid(across: Scale, up: Scale) -> Iterator[str]:
    """Yield the SVG elements of the grid lines and the numbers at both axes."""
    for value in ticks(up.low, up.high):
        y = up(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" text-anchor="end" x="{LEFT - 6}" y="{y + 4:.1f}">{_number(value)}</text>'
    for value in ticks(across.low, across.high):
        x = across(value)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        yield f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{HEIGHT - 18}">{_number(value)}</text>'


def _path(curve: Curve, across: Scale, up: Scale) -> str:
    """Return the SVG elements of a curve and of its points, which show their values under the pointer."""
    places = [(across(x), up(y)) for x, y in curve.points]
    corners = [f"{x:.1f},{y:.1f}" for x, y in places]
    line = " ".join(corners)
    color = curve.color % COLORS
    parts = [f'<polyline class="c{color}" points="{line}"/>']
    for (x, y), (update, value) in zip(places, curve.points, strict=True):
        marked, radius = f"p{color}", 2.5
        # A point without a mark still has a tooltip.
        if len(places) > MARKED_POINTS:
            marked, radius = "hidden", 4
        parts.append(
            f'<circle class="{marked}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
            f"<title>{escape(curve.name)}: {_number(value)} at {_number(update)}</title></circle>"
        )
    return "".join(parts)


def _number(value: float) -> str:
    """Return a number in a short form: 12k, 3.2M, 0.0005, 1e-07."""
    # Numbers just below a limit are rounded up to it, and would be written as 1e+04 without a letter.
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9999 and abs(value) >= 1e4 * 0.9999:
            return f"{value / size:.4g}{letter}"
    if value and abs(value) < 1e-3:
        return f"{value:.2g}"
    return f"{value:.4g}"
