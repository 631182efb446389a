"""Merge neighboring parts of a word by BPE (Sennrich et al. 2016), and rank the merges."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence

Pair = tuple[str, str]
Ranks = Mapping[Pair, int]
"""The rank of each pair of neighboring parts that has a merge; the merge of rank 0 was learned first."""


Candidate = tuple[float, int, str, str]
"""A pair of neighbors that has a merge: its rank, the number of the first part, and both parts."""


def first_ranks(merges: Sequence[Pair]) -> dict[Pair, int]:
    """Return the rank of each merge: its first position in `merges`, as in subword-nmt."""
    ranks: dict[Pair, int] = {}
    for rank, pair in enumerate(merges):
        ranks.setdefault(pair, rank)
    return ranks


def last_ranks(merges: Sequence[Pair]) -> dict[Pair, int]:
    """Return the rank of each merge: its last position in `merges`, as in Hugging Face's tokenizers."""
    return {pair: rank for rank, pair in enumerate(merges)}


def merge_in_word(parts: Sequence[str], pair: Pair, result: str) -> list[str]:
    """Return the parts of a word with every occurrence of `pair` replaced by `result`, from left to right."""
    first, second = pair
    end = len(parts)
    merged = []
    position = 0
    while position < end:
        # This is called many times for every word of a text, and slices would be slower.
        if (
            parts[position] == first
            and position + 1 < end
            and parts[position + 1] == second
        ):
            merged.append(result)
            position += 2
        else:
            merged.append(parts[position])
            position += 1
    return merged


class MergedWord:
    """A word while its letters are merged: its parts, and the pairs of neighbors that have a merge.

    `rank` returns the rank of the merge of two parts, or None if there is none.
    """

    def __init__(
        self, letters: Sequence[str], rank: Callable[[Pair], float | None]
    ) -> None:
        self._parts = list(letters)
        self._rank = rank
        end = len(self._parts)
        # The neighbors of each remaining part; a part that was merged into the previous one is empty.
        self._following = list(range(1, end + 1))
        self._preceding = list(range(-1, end - 1))
        self.candidates: list[Candidate] = []
        """A heap of the pairs that have a merge. A pair stays there when one of the two has been merged with
        its other neighbor."""
        for left in range(end - 1):
            self._add_candidate(left)

    def merge(self, left: int, first: str, second: str) -> bool:
        """Merge the part number `left` with the next one if they are still `first` and `second`.

        Returns whether they were merged.
        """
        right = self._following[left]
        if (
            self._parts[left] != first
            or right == len(self._parts)
            or self._parts[right] != second
        ):
            return False
        self._parts[left] = first + second
        self._parts[right] = ""
        after = self._following[right]
        self._following[left] = after
        if after < len(self._parts):
            self._preceding[after] = left
        return True

    def add_candidates(self, merged: int) -> None:
        """Add the pairs of the part number `merged` with both of its neighbors to the candidates."""
        self._add_candidate(self._preceding[merged])
        self._add_candidate(merged)

    def _add_candidate(self, left: int) -> None:
        if left < 0 or self._following[left] == len(self._parts):
            return
        pair = (self._parts[left], self._parts[self._following[left]])
        rank = self._rank(pair)
        if rank is not None:
            heapq.heappush(self.candidates, (rank, left, *pair))

    def remaining_parts(self) -> list[str]:
        """Return the parts of the word."""
        return [part for part in self._parts if part]


def merge_pairs(
    letters: Sequence[str], ranks: Ranks, together: bool = False
) -> list[str]:
    """Merge neighboring letters until no pair has a merge, and return the resulting parts of the word.

    The pair of the lowest rank is merged first, and of equal pairs the leftmost. A pair that results may have
    a lower rank than others that are still to be merged: it comes before them, as in Hugging Face's
    tokenizers, but with `together` after all equal pairs, as in subword-nmt. A heap keeps long words fast: n
    letters take O(n log n) steps.
    """
    word = MergedWord(letters, ranks.get)
    merged: list[int] = []
    while word.candidates:
        rank, left, first, second = heapq.heappop(word.candidates)
        if word.merge(left, first, second):
            merged.append(left)
        if together and word.candidates and word.candidates[0][0] == rank:
            continue
        for number in merged:
            word.add_candidates(number)
        merged.clear()
    return word.remaining_parts()
