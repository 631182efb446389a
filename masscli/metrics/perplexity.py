"""Perplexity: the exponential of the mean negative log-likelihood of the pieces or words of a text."""

from __future__ import annotations

import math

MAX_PERPLEXITY = 1e100
"""A higher perplexity is taken as this, which logs of scores can hold, and is shown as `inf`. It comes of a
model that has learned nothing, and by word of languages that are written without spaces."""
_MANY_DIGITS = 1e9
"""From this number on, a metric is shown with an exponent instead of all its digits."""


def perplexity(nats: float, units: float) -> float:
    """Return the perplexity by unit of a text with the negative log-likelihood `nats`, in nats.

    `units` is the number of its pieces, words or the like, above 0. It is at most MAX_PERPLEXITY, but what is
    NaN or infinite stays so.
    """
    mean = nats / units
    if not math.isfinite(mean):
        return mean
    if mean >= math.log(MAX_PERPLEXITY):
        return MAX_PERPLEXITY
    return math.exp(mean)


def metric_text(value: float, spec: str) -> str:
    """Return a metric as text in a format such as `.2f`, or with four digits if it is large.

    A perplexity that is too large is `inf`.
    """
    if value == MAX_PERPLEXITY:
        return "inf"
    if abs(value) >= _MANY_DIGITS:
        spec = ".4g"
    return format(value, spec)
