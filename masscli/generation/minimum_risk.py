"""Minimum Bayes risk decoding: choose the output that is most like all others (Eikema and Aziz 2022).

The similarity of two texts is sentence chrF2 (Popovic 2015), with the same values as sacreBLEU: the F
score (beta is 2) of the mean precision and the mean recall over character n-grams up to 6, without
spaces. The utility of a text is its mean chrF against all candidates, so a text that is sampled several
times counts several times.

Shapes: N texts, G different n-grams of one order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LONGEST_NGRAM = 6
"""Characters of the longest n-gram of chrF."""
BETA_SQUARED = 4.0
"""The square of beta in the F score; with a beta of 2, recall counts twice as much as precision."""

Matrix = NDArray[np.float64]
"""A table of numbers with two dimensions."""


def rank_by_utility(texts: Sequence[str]) -> list[int]:
    """Return the indices of the texts by their mean chrF against all of the texts, highest first.

    Of equally good texts the first comes first.
    """
    utilities = chrf_matrix(texts).mean(1)
    return sorted(
        range(len(texts)), key=lambda number: (-float(utilities[number]), number)
    )


def chrf_matrix(texts: Sequence[str]) -> Matrix:
    """Return the chrF (N, N), from 0 to 100, of each text (row) against each as the reference (column)."""
    characters = ["".join(text.split()) for text in texts]
    precisions = np.zeros((len(texts), len(texts)))
    recalls = np.zeros_like(precisions)
    orders = np.zeros_like(precisions)
    for n in range(1, LONGEST_NGRAM + 1):
        counts = _ngram_counts(characters, n)
        totals = counts.sum(1)
        # Row by row, so that no array of N * N * G numbers is made.
        matches = np.stack([np.minimum(row, counts).sum(1) for row in counts])
        # Texts shorter than n have no n-grams of this order.
        has_both = np.outer(totals > 0, totals > 0)
        precisions += np.divide(
            matches, totals[:, None], out=np.zeros_like(matches), where=has_both
        )
        recalls += np.divide(
            matches, totals[None, :], out=np.zeros_like(matches), where=has_both
        )
        # The means are over those orders that both texts have, as in sacreBLEU.
        orders += has_both
    precisions /= np.maximum(orders, 1)
    recalls /= np.maximum(orders, 1)
    weighted = BETA_SQUARED * precisions + recalls
    products = (1 + BETA_SQUARED) * precisions * recalls
    # Texts without a common n-gram have chrF 0 and would divide by 0.
    return 100 * np.divide(
        products, weighted, out=np.zeros_like(products), where=weighted > 0
    )


def _ngram_counts(texts: Sequence[str], n: int) -> Matrix:
    """Return how often each text has each of the G character n-grams that occur in any text: (N, G)."""
    counters = []
    for text in texts:
        ngrams = [text[start : start + n] for start in range(len(text) - n + 1)]
        counters.append(Counter(ngrams))
    all_ngrams = sorted(set().union(*counters))
    ids = {ngram: number for number, ngram in enumerate(all_ngrams)}
    # Without any n-gram there is one empty column, so that sums over columns are defined.
    counts = np.zeros((len(texts), max(1, len(ids))))
    for row, counter in zip(counts, counters, strict=True):
        for ngram, count in counter.items():
            row[ids[ngram]] = count
    return counts
