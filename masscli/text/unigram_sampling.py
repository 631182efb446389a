"""Subword regularization (Kudo 2018): sample the pieces of a word from a unigram model at each reading.

A segmentation x of a word is drawn with a probability in proportion to P(x) ** alpha, where P(x) is the
product of the probabilities of its pieces. Sampling is exact, by forward filtering and backward sampling: sum
over all segmentations of each prefix of the word, then draw the pieces from the last to the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from masscli.text.resegmentation import Resegmenter


class UnigramSampling(Resegmenter):
    """Replaces token ids by those of a sampled segmentation; see Resegmenter for the other parameters.

    `scores` holds the log-probability of each piece, None for one that is not text. Probabilities are raised
    to the power `alpha`: with 0, all segmentations are equally likely.
    """

    def __init__(
        self,
        pieces: Sequence[str],
        scores: Sequence[float | None],
        word_start: str,
        max_length: int,
        alpha: float,
    ) -> None:
        super().__init__(pieces, word_start, max_length)
        self._weights = {}
        for number, (piece, score) in enumerate(zip(pieces, scores, strict=True)):
            if score is not None:
                self._weights[piece] = (number, alpha * score)
        self._longest = max(map(len, self._weights), default=1)

    def is_splittable(self, number: int) -> bool:
        """Return whether the piece with id `number` is text, and not a special or unknown piece."""
        return self.pieces[number] in self._weights

    def segment_word(self, word: str, rng: np.random.Generator) -> list[int]:
        """Sample a segmentation of `word`, which includes its start marker; return the ids of its pieces."""
        # For each beginning of the word: the logarithm of the sum over its segmentations.
        totals = [0.0]
        for end in range(1, len(word) + 1):
            sums = [total for _, total in self._last_pieces(word, end, totals)]
            totals.append(_log_sum(sums))
        sampled: list[int] = []
        end = len(word)
        while end:
            choices = self._last_pieces(word, end, totals)
            shares = [math.exp(total - totals[end]) for _, total in choices]
            number = int(np.searchsorted(np.cumsum(shares), rng.random(), side="right"))
            # The last choice also covers any remainder from rounding.
            start, _ = choices[min(number, len(choices) - 1)]
            sampled.append(self._weights[word[start:end]][0])
            end = start
        return sampled[::-1]

    def _last_pieces(
        self, word: str, end: int, totals: Sequence[float]
    ) -> list[tuple[int, float]]:
        """Return the possible last pieces of the prefix `word[:end]`, as pairs of start and log-sum.

        The log-sum is the log of the summed weights of all segmentations that end with this piece. `totals`
        holds the log-sums of all shorter prefixes.
        """
        choices = []
        for start in range(max(0, end - self._longest), end):
            weight = self._weights.get(word[start:end])
            if weight is not None and totals[start] > -math.inf:
                choices.append((start, totals[start] + weight[1]))
        return choices


def _log_sum(values: Sequence[float]) -> float:
    """Return the log of the sum of the exponentials of the values, or -inf if there are none."""
    if not values:
        return -math.inf
    largest = max(values)
    # Without subtracting the largest, all exponentials of long words would be 0.
    return largest + math.log(sum(math.exp(value - largest) for value in values))
