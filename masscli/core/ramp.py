"""Weights that change over the updates, as XLM writes them: `0:1,100000:0.1,300000:0` is joined by straight lines."""

from __future__ import annotations

import math
from itertools import pairwise

from masscli.core.config import ConfigError, Problem


def ramp(text: str) -> tuple[tuple[int, float], ...]:
    """Parse a weight: a number, or XLM's `update:value,...` whose values are joined by straight lines.

    Raises `ConfigError` when it is neither, or when the updates do not rise from 0.
    """
    try:
        items = [item.partition(":") for item in text.split(",")] if ":" in text else [("0", ":", text)]
        points = tuple((int(n), float(v)) for n, _, v in items)
    except ValueError:
        raise ConfigError(
            Problem("loss_weight", f"expected a number or UPDATE:VALUE,..., got {text!r}")
        ) from None
    if not all(math.isfinite(v) for _, v in points):
        raise ConfigError(Problem("loss_weight", f"expected finite numbers, got {text!r}"))
    if any(v < 0 for _, v in points):
        raise ConfigError(Problem("loss_weight", f"must not be negative, got {text!r}"))
    if points[0][0] != 0 or any(a[0] >= b[0] for a, b in pairwise(points)):
        raise ConfigError(Problem("loss_weight", f"updates must rise from 0, got {text!r}"))
    return points


def ramp_at(points: tuple[tuple[int, float], ...], update: int) -> float:
    """The value of a ramp at an update; constant after its last point."""
    for (n0, v0), (n1, v1) in pairwise(points):
        if update < n1:
            return v0 + (v1 - v0) * (update - n0) / (n1 - n0)
    return points[-1][1]
