"""Perplexity: the exponential of the mean negative log-likelihood of the pieces or words of a text."""

from __future__ import annotations

import math

MAX_EXPONENT = 700.0
"""The largest mean of which a perplexity is computed, in nats; a higher one is taken as this, so that `exp`
does not overflow a float64. Means by word are so high in languages that are written without spaces."""


def perplexity(nats: float, units: float) -> float:
    """Return the perplexity by unit of a text with the negative log-likelihood `nats`, in nats.

    `units` is the number of its pieces, words or the like, above 0. What is NaN or infinite stays so.
    """
    mean = nats / units
    if not math.isfinite(mean):
        return mean
    return math.exp(min(MAX_EXPONENT, mean))
