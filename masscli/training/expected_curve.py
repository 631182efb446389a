"""The range in which a metric of a recipe should lie at each update, as measured in earlier runs.

It is written as `METRIC=UPDATE:LOW-HIGH,...`, such as `loss=500:4.2-4.6,1000:3.1-3.5`. This module
imports nothing heavy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

POINT = re.compile(r"(\d+):(\d*\.?\d+)-(\d*\.?\d+)")


class Point(NamedTuple):
    """The lowest and the highest expected value of a metric after a number of updates."""

    update: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ExpectedCurve:
    """The range in which a metric is expected at each update, interpolated linearly between the points.

    Nothing is expected before the first point or after the last one. The points are sorted by update.
    """

    metric: str
    points: tuple[Point, ...]

    def band_at(self, update: int) -> tuple[float, float] | None:
        """Return the lowest and the highest expected value after `update` updates.

        None is returned before the first point and after the last one.
        """
        first = self.points[0]
        if update == first.update:
            return first.low, first.high
        for before, after in pairwise(self.points):
            if before.update < update <= after.update:
                share = (update - before.update) / (after.update - before.update)
                low = before.low + share * (after.low - before.low)
                return low, before.high + share * (after.high - before.high)
        return None


def parse_expected_curve(text: str) -> ExpectedCurve:
    """Return the curve that a text such as `loss=500:4.2-4.6,1000:3.1-3.5` describes.

    Raises ValueError, with a message that says what is wrong, if the text has another form.
    """
    metric, _, rest = text.partition("=")
    points = []
    for item in rest.split(","):
        match = POINT.fullmatch(item.strip())
        if match is None or not metric:
            raise ValueError("expected METRIC=UPDATE:LOW-HIGH,...")
        points.append(Point(int(match[1]), float(match[2]), float(match[3])))
    if any(point.low > point.high for point in points):
        raise ValueError("a lowest value is above the highest one")
    if any(before.update >= after.update for before, after in pairwise(points)):
        raise ValueError("updates must rise")
    return ExpectedCurve(metric, tuple(points))
