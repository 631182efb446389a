"""Weights that change during training, in XLM's notation.

`0:1,100000:0.1,300000:0` is interpolated linearly between its points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Schedule:
    """A value that depends on the number of the update, such as the weight of a loss.

    It is interpolated linearly between successive `points` (update, value), and constant after the last of
    them.
    """

    points: tuple[tuple[int, float], ...]

    def value_at(self, update: int) -> float:
        """Return the value of the schedule at an update, counted from 0."""
        for (start, start_value), (end, end_value) in pairwise(self.points):
            # Points are sorted by update, so the first segment that ends later contains the
            # update.
            if update < end:
                return start_value + (end_value - start_value) * (update - start) / (
                    end - start
                )
        return self.points[-1][1]

    def zero_from(self) -> float:
        """Return the update from which on the value stays 0: 0 if it always is, infinity if it does not."""
        update = math.inf
        for point, value in reversed(self.points):
            if value:
                break
            update = point
        return update


def parse_schedule(text: str) -> Schedule:
    """Parse a number, which is a constant schedule, or XLM's `UPDATE:VALUE,...`.

    Raises ValueError, which says what is wrong, if `text` is neither, if a value is negative or not
    finite, or if the updates do not start at 0 and increase.
    """
    # A number is a schedule with a single point.
    if ":" not in text:
        text = f"0:{text}"
    points = []
    try:
        for item in text.split(","):
            update, _, value = item.partition(":")
            points.append((int(update), float(value)))
    except ValueError:
        raise ValueError("expected a number or UPDATE:VALUE,...") from None
    updates, values = zip(*points, strict=True)
    if not all(map(math.isfinite, values)):
        raise ValueError("expected finite numbers")
    if min(values) < 0:
        raise ValueError("must not be negative")
    if updates[0] != 0 or any(
        update >= following for update, following in pairwise(updates)
    ):
        raise ValueError("updates must rise from 0")
    return Schedule(tuple(points))
