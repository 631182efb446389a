"""Merge neighboring parts of a word by BPE (Sennrich et al. 2016), and rank the merges."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

Pair = tuple[str, str]
Ranks = Mapping[Pair, int]
"""The rank of each pair of neighboring parts that has a merge; the merge of rank 0 was learned first."""


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


def merge_pairs(letters: Sequence[str], ranks: Ranks) -> list[str]:
    """Merge neighboring letters until no pair has a merge, and return the resulting parts of the word.

    The pair of the lowest rank is merged first, and of equal pairs the leftmost. A heap keeps long words
    fast: n letters take O(n log n) steps.
    """
    parts = list(letters)
    end = len(parts)
    # The neighbors of each remaining part; a part that was merged into the previous one is empty.
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
        # One of the two has since been merged with another neighbor.
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
