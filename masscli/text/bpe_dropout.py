"""BPE-dropout (Provilkov et al. 2020, algorithm 1): split words into other pieces each time they are read.

A word begins as its characters. At each step every possible merge is left out with probability p; of the
others the one with the highest score is carried out, the leftmost of equals, until none is left. With p = 0
this is the segmentation of the BPE itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class BpeDropout:
    """Segments token ids anew.

    `pieces` and `scores` are those of all ids of a BPE. A piece that begins with `word_start` begins a word.
    What would become longer than `max_length` tokens stays as it was.
    """

    def __init__(
        self, pieces: Sequence[str], scores: Sequence[float], word_start: str, dropout: float, max_length: int
    ) -> None:
        self.pieces = pieces
        self.word_start = word_start
        self.dropout = dropout
        self.max_length = max_length
        self._ids = {piece: number for number, piece in enumerate(pieces)}
        self._scores = dict(zip(pieces, scores, strict=True))

    def __call__(self, ids: Ids, rng: np.random.Generator) -> Ids:
        """Return the ids of the same text in other pieces."""
        segmented: list[int] = []
        for word in self._words(ids.tolist()):
            segmented += self._segment_word(word, rng)
        if len(segmented) > self.max_length:
            return ids
        return np.array(segmented, np.int64)

    def _words(self, ids: list[int]) -> Iterator[list[int]]:
        """Yield the ids of each word. An unknown piece, whose text is lost, ends a word."""
        word: list[int] = []
        for number in ids:
            starts_word = self.pieces[number].startswith(self.word_start)
            if word and (starts_word or not self._is_known(number) or not self._is_known(word[-1])):
                yield word
                word = []
            word.append(number)
        if word:
            yield word

    def _is_known(self, number: int) -> bool:
        """Return whether the characters of a piece are pieces as well, as those of a BPE are."""
        return all(character in self._ids for character in self.pieces[number])

    def _segment_word(self, ids: list[int], rng: np.random.Generator) -> list[int]:
        if not self._is_known(ids[0]):
            return ids
        parts = list("".join(self.pieces[number] for number in ids))
        # As many numbers as the most merges that can be possible, drawn at once for speed.
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
