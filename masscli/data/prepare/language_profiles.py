"""Distinguish languages by the frequencies of character trigrams.

The profile of a language contains the log-probabilities of the trigrams in a sample of its text. A line
is in another language if it is more likely under that profile by `MARGIN` nats per trigram.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

TRIGRAM_BUCKETS = 1 << 16
"""Number of buckets into which trigrams are hashed."""
MIN_TRIGRAMS = 20
"""Minimum number of trigrams of a line whose language is judged."""
MARGIN = 0.3
"""Difference of mean log-probabilities of a trigram, in nats, by which another language must explain a line
better for the line to count as written in it."""

Profile = NDArray[np.float32]
"""(TRIGRAM_BUCKETS,) log-probabilities of the hashed character trigrams of a language."""


def hash_trigrams(line: str) -> NDArray[np.int64]:
    """Return the hashes, below TRIGRAM_BUCKETS, of all character trigrams of a line.

    The line is lower-cased and stripped, and gets a space at each end.
    """
    padded = f" {line.strip().lower()} "
    points = np.frombuffer(padded.encode("utf-32-le"), "<u4").astype(np.int64)
    # The factors differ, so that the order of the characters counts.
    return (
        points[:-2] * 40_503 + points[1:-1] * 2_239 + points[2:] * 31
    ) % TRIGRAM_BUCKETS


def make_profile(lines: Iterable[str]) -> Profile:
    """Return the profile of the language of some lines.

    It holds the log of the smoothed frequency of each hashed character trigram.
    """
    counts = np.zeros(TRIGRAM_BUCKETS)
    for line in lines:
        counts += np.bincount(hash_trigrams(line), minlength=TRIGRAM_BUCKETS)
    # Add-one-half smoothing, so that an unseen trigram is not impossible.
    total = counts.sum() + 0.5 * TRIGRAM_BUCKETS
    profile: Profile = np.log((counts + 0.5) / total).astype(np.float32)
    return profile


def is_other_language(line: str, profile: Profile, others: Sequence[Profile]) -> bool:
    """Return whether any of the other profiles explains a line better than its own, by more than MARGIN.

    A line with fewer than MIN_TRIGRAMS trigrams gives False.
    """
    trigrams = hash_trigrams(line)
    if len(trigrams) < MIN_TRIGRAMS:
        return False
    # Means over trigrams, so that the criterion does not depend on the length of the line.
    best_other = max(float(other[trigrams].mean()) for other in others)
    return best_other > float(profile[trigrams].mean()) + MARGIN
