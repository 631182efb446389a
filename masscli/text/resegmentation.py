"""Base class of subword regularization: words are split differently each time they are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class Resegmenter(ABC):
    """Base class of callables that replace token ids by ids of other pieces with the same text.

    `pieces` holds the piece of each id. A piece that begins with the string `word_start` begins a word. If
    the result would have more than `max_length` tokens, the ids are returned unchanged.
    """

    def __init__(self, pieces: Sequence[str], word_start: str, max_length: int) -> None:
        self.pieces = pieces
        self.word_start = word_start
        self.max_length = max_length

    def __call__(self, ids: Ids, rng: np.random.Generator) -> Ids:
        """Return new token ids for the same text (L,); the number of tokens may change.

        Words are segmented one by one with `segment_word`. The ids are returned unchanged if the result would
        be longer than `max_length`.
        """
        segmented: list[int] = []
        for word in self._words(ids.tolist()):
            if self.is_splittable(word[0]):
                segmented += self.segment_word(
                    "".join(self.pieces[number] for number in word), rng
                )
            else:
                segmented += word
        if len(segmented) > self.max_length:
            return ids
        return np.array(segmented, np.int64)

    @abstractmethod
    def is_splittable(self, number: int) -> bool:
        """Return whether the piece with id `number` may be split into others.

        Special and unknown pieces may not: their text cannot be made of other pieces.
        """

    @abstractmethod
    def segment_word(self, word: str, rng: np.random.Generator) -> list[int]:
        """Return the ids of pieces that together spell `word`, chosen at random with `rng`.

        `word` includes the marker of its start.
        """

    def _words(self, ids: list[int]) -> Iterator[list[int]]:
        """Yield the ids of each word. A piece that is not splittable is yielded as a word of its own."""
        word: list[int] = []
        for number in ids:
            starts_word = self.pieces[number].startswith(self.word_start)
            splittable = (
                self.is_splittable(number)
                and bool(word)
                and self.is_splittable(word[-1])
            )
            if word and (starts_word or not splittable):
                yield word
                word = []
            word.append(number)
        if word:
            yield word
