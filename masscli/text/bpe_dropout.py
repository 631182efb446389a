"""BPE-dropout (Provilkov et al. 2020, algorithm 1): split words differently each time they are read.

A word is first split into characters. At each step every possible merge is dropped with probability p,
and of the remaining merges the one whose result has the highest score (learned first) is applied, the
leftmost of equals. This is repeated until no merge is possible or all were dropped. With p = 0 the
result is the segmentation of the BPE itself.

Merges are dropped one by one from the best one on, until one is not dropped: whether those after it would
have been dropped makes no difference.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import numpy as np

from masscli.text.bpe_merging import Candidate, MergedWord, Pair
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
        self._ranks: dict[str, float] = {}
        """The rank of each piece as the result of a merge; the lowest comes first."""
        for number, (piece, score) in enumerate(zip(pieces, scores, strict=True)):
            if score is not None:
                self._ids[piece] = number
                self._ranks[piece] = -score
        # This is asked for every token.
        self._splittable = {
            number
            for number, piece in enumerate(pieces)
            if piece in self._ids and self._ids.keys() >= set(piece)
        }

    def is_splittable(self, number: int) -> bool:
        """Return whether the piece with id `number` is text, and each of its characters is a piece, too.

        This holds for all pieces that a BPE made of text.
        """
        return number in self._splittable

    def segment_word(self, word: str, rng: np.random.Generator) -> list[int]:
        """Split `word`, which includes its start marker, by BPE-dropout; return the ids of the pieces."""
        merged = MergedWord(word, self._rank)
        draws = _uniform_numbers(rng, len(word))
        dropped: list[Candidate] = []
        while merged.candidates:
            candidate = heapq.heappop(merged.candidates)
            if next(draws) < self.dropout:
                dropped.append(candidate)
                continue
            _, place, left, right = candidate
            if merged.merge(place, left, right):
                merged.add_candidates(place)
                # The next step may apply them.
                for candidate in dropped:
                    heapq.heappush(merged.candidates, candidate)
                dropped.clear()
        return [self._ids[part] for part in merged.remaining_parts()]

    def _rank(self, pair: Pair) -> float | None:
        return self._ranks.get(pair[0] + pair[1])


def _uniform_numbers(rng: np.random.Generator, at_once: int) -> Iterator[float]:
    """Yield random numbers from 0 to 1 without end; so many are drawn at once, for speed."""
    while True:
        yield from rng.random(at_once).tolist()
