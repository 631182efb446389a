"""Split words into other pieces each time they are read, which is what all ways to do so have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class Resegmenter(ABC):
    """Replaces token ids by those of the same text in other pieces.

    `pieces` are those of all ids. A piece that begins with `word_start` begins a word. What would become
    longer than `max_length` tokens stays as it was.
    """

    def __init__(self, pieces: Sequence[str], word_start: str, max_length: int) -> None:
        self.pieces = pieces
        self.word_start = word_start
        self.max_length = max_length

    def __call__(self, ids: Ids, rng: np.random.Generator) -> Ids:
        """Return the ids of the same text in other pieces."""
        segmented: list[int] = []
        for word in self._words(ids.tolist()):
            if self.is_splittable(word[0]):
                segmented += self.segment_word("".join(self.pieces[number] for number in word), rng)
            else:
                segmented += word
        if len(segmented) > self.max_length:
            return ids
        return np.array(segmented, np.int64)

    @abstractmethod
    def is_splittable(self, number: int) -> bool:
        """Return whether a piece may be split; the text of an unknown one, for instance, is lost."""

    @abstractmethod
    def segment_word(self, word: str, rng: np.random.Generator) -> list[int]:
        """Return the ids of pieces that make up a word."""

    def _words(self, ids: list[int]) -> Iterator[list[int]]:
        """Yield the ids of each word. A piece that may not be split stands alone."""
        word: list[int] = []
        for number in ids:
            starts_word = self.pieces[number].startswith(self.word_start)
            splittable = self.is_splittable(number) and bool(word) and self.is_splittable(word[-1])
            if word and (starts_word or not splittable):
                yield word
                word = []
            word.append(number)
        if word:
            yield word
