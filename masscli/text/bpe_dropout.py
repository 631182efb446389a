"""BPE-dropout (Provilkov et al. 2020, algorithm 1): split words differently each time they are read.

A word is first split into characters. At each step every possible merge is dropped with probability p,
and of the remaining merges the one whose result has the highest score (learned first) is applied, the
leftmost of equals. This is repeated until no merge is possible or all were dropped. With p = 0 the
result is the segmentation of the BPE itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from masscli.text.resegmentation import Resegmenter


class BpeDropout(Resegmenter):
    """Replaces token ids by those of a random segmentation by BPE-dropout; see Resegmenter.

    `scores` holds the score of each piece, None for one that is not text; the merge whose result has the
    highest score comes first. `dropout` is the probability that a merge is dropped.
    """

    def __init__(
        self,
        pieces: Sequence[str],
        scores: Sequence[float | None],
        word_start: str,
        max_length: int,
        dropout: float,
    ) -> None:
        super().__init__(pieces, word_start, max_length)
        self.dropout = dropout
        self._ids: dict[str, int] = {}
        self._scores: dict[str, float] = {}
        for number, (piece, score) in enumerate(zip(pieces, scores, strict=True)):
            if score is not None:
                self._ids[piece] = number
                self._scores[piece] = score

    def is_splittable(self, number: int) -> bool:
        """Return whether the piece with id `number` is text, and each of its characters is a piece, too.

        This holds for all pieces that a BPE made of text.
        """
        piece = self.pieces[number]
        return piece in self._scores and all(
            character in self._ids for character in piece
        )

    def segment_word(self, word: str, rng: np.random.Generator) -> list[int]:
        """Split `word`, which includes its start marker, by BPE-dropout; return the ids of the pieces."""
        parts = list(word)
        # Draw numbers for the maximum number of merges at once, for speed.
        draws = iter(rng.random(len(parts) * (len(parts) - 1) // 2).tolist())
        while True:
            merges = []
            for place, (left, right) in enumerate(pairwise(parts)):
                score = self._scores.get(left + right)
                if score is not None and next(draws) >= self.dropout:
                    merges.append((-score, place))
            if not merges:
                return [self._ids[part] for part in parts]
            _, place = min(merges)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
