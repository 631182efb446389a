"""Merge the letters of a word by BPE (Sennrich et al. 2016), as Hugging Face's tokenizers do it."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

Ranks = Mapping[tuple[str, str], int]
"""The rank of each pair of neighbouring parts that has a merge; the merge of rank 0 was learned first."""


def rank_merges(merges: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return the rank of each merge: its position in `merges`, the last one if it occurs twice."""
    return {pair: rank for rank, pair in enumerate(merges)}


def merge_pairs(letters: Sequence[str], ranks: Ranks) -> list[str]:
    """Merge neighbouring letters until no pair has a merge, and return the resulting parts of the word.

    The pair of the lowest rank is merged first, and of equal pairs the leftmost. A heap keeps long words
    fast: n letters take O(n log n) steps.
    """
    parts = list(letters)
    end = len(parts)
    # The neighbours of each part that is still there; a part that was merged into the one before is empty.
    following = list(range(1, end + 1))
    preceding = list(range(-1, end - 1))
    candidates: list[tuple[int, int, str, str]] = []

    def add_candidate(left: int) -> None:
        if left < 0 or following[left] == end:
            return
        pair = (parts[left], parts[following[left]])
        if pair in ranks:
            heapq.heappush(candidates, (ranks[pair], left, *pair))

    for left in range(end - 1):
        add_candidate(left)
    while candidates:
        _, left, first, second = heapq.heappop(candidates)
        right = following[left]
        # One of the two was merged with another neighbour meanwhile.
        if parts[left] != first or right == end or parts[right] != second:
            continue
        parts[left] = first + second
        parts[right] = ""
        following[left] = following[right]
        if following[left] < end:
            preceding[following[left]] = left
        add_candidate(preceding[left])
        add_candidate(left)
    return [part for part in parts if part]
