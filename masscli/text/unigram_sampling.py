"""Subword regularization (Kudo 2018): sample the pieces of words from a unigram model at each reading.

A segmentation x of a word has a probability in proportion to P(x) ** alpha, where P(x) is the product of the
probabilities of its pieces. It is sampled exactly: forwards, the sum over all segmentations of each beginning
of the word; backwards, one piece after the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from masscli.text.resegmentation import Resegmenter


class UnigramSampling(Resegmenter):
    """Samples segmentations of words; see Resegmenter.

    `scores` are the log-probabilities of all pieces, None for those that are no text.
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
        """Return whether a piece is text."""
        return self.pieces[number] in self._weights

    def segment_word(self, word: str, rng: np.random.Generator) -> list[int]:
        """Return the ids of pieces that make up a word."""
        # For each beginning of the word: the logarithm of the sum over its segmentations.
        totals = [0.0]
        for end in range(1, len(word) + 1):
            totals.append(_log_sum([total for _, total in self._last_pieces(word, end, totals)]))
        sampled: list[int] = []
        end = len(word)
        while end:
            choices = self._last_pieces(word, end, totals)
            shares = [math.exp(total - totals[end]) for _, total in choices]
            number = int(np.searchsorted(np.cumsum(shares), rng.random(), side="right"))
            # The last choice stands for what rounding leaves over.
            start, _ = choices[min(number, len(choices) - 1)]
            sampled.append(self._weights[word[start:end]][0])
            end = start
        return sampled[::-1]

    def _last_pieces(self, word: str, end: int, totals: Sequence[float]) -> list[tuple[int, float]]:
        """Return where the last piece before `end` may start, with the log-sum of these segmentations."""
        choices = []
        for start in range(max(0, end - self._longest), end):
            weight = self._weights.get(word[start:end])
            if weight is not None and totals[start] > -math.inf:
                choices.append((start, totals[start] + weight[1]))
        return choices


def _log_sum(values: Sequence[float]) -> float:
    """Return log sum exp, -inf of nothing."""
    if not values:
        return -math.inf
    largest = max(values)
    return largest + math.log(sum(math.exp(value - largest) for value in values))
