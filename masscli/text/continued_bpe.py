"""Continue the training of a BPE on new text, starting from pieces instead of characters.

A word of the new text is first split into pieces of an existing vocabulary. The adjacent pair that is
most frequent in the text is merged everywhere, and so on, as in BPE (Sennrich et al. 2016). Every new
piece is therefore reachable by merges, and is made of existing pieces (Purason et al. 2025 compare this
with appending the pieces of a vocabulary that was trained separately, many of which are then never
used).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Container, Mapping
from itertools import pairwise

from masscli.text.bpe_merging import Pair, merge_in_word
from masscli.text.piece_spelling import PieceSpelling

Word = tuple[str, ...]
LEAST_COUNT = 2
"""A pair that occurs less often than this is not merged: it would hardly occur in other text."""


def learn_merges(
    words: Mapping[Word, int], most: int, spelling: PieceSpelling, known: Container[str]
) -> tuple[list[Pair], list[str]]:
    """Return merges and the new pieces that they result in, at most `most`, both in the order of learning.

    `words` has the count of each word of the text, which is given as its pieces. `known` are the pieces that
    exist: a merge into one of them, or into an earlier result, does not count as a new piece. There are fewer
    pieces if no pair is left that occurs `LEAST_COUNT` times. Of equally frequent pairs the one that comes
    first in alphabetical order is merged first.
    """
    learner = _Learner(words, spelling)
    merges: list[Pair] = []
    # The keys are the new pieces, each once.
    results: dict[str, None] = {}
    while len(results) < most:
        pair = learner.most_frequent_pair()
        if pair is None:
            break
        piece = learner.merge(pair)
        merges.append(pair)
        if piece not in known:
            results[piece] = None
    return merges, list(results)


class _Learner:
    """The words of a text with their present pieces, and the counts of all pairs of neighbors in them."""

    def __init__(self, words: Mapping[Word, int], spelling: PieceSpelling) -> None:
        self._words = [list(word) for word in words]
        self._word_counts = list(words.values())
        self._spelling = spelling
        self._counts: dict[Pair, int] = defaultdict(int)
        # Numbers of the words in which a pair occurs, or did before a merge.
        self._places: dict[Pair, set[int]] = defaultdict(set)
        for number in range(len(self._words)):
            self._count_pairs(number, self._word_counts[number])
        # Counts in the heap may be out of date: each pair is compared with `_counts` when it comes up.
        self._heap = [(-count, pair) for pair, count in self._counts.items()]
        heapq.heapify(self._heap)

    def most_frequent_pair(self) -> Pair | None:
        """Return the most frequent pair that may be merged, or None if none occurs `LEAST_COUNT` times."""
        while self._heap:
            negative_count, pair = heapq.heappop(self._heap)
            count = self._counts[pair]
            if count < LEAST_COUNT:
                continue
            if count != -negative_count:
                heapq.heappush(self._heap, (-count, pair))
                continue
            if self._spelling.joined(*pair) is not None:
                return pair
        return None

    def merge(self, pair: Pair) -> str:
        """Merge a pair in every word from left to right, count again, and return the resulting piece."""
        piece = self._spelling.joined(*pair)
        assert piece is not None
        changed: set[Pair] = set()
        for number in self._places.pop(pair):
            self._count_pairs(number, -self._word_counts[number])
            self._words[number] = merge_in_word(self._words[number], pair, piece)
            self._count_pairs(number, self._word_counts[number])
            changed.update(pairwise(self._words[number]))
        # Only pairs with the new piece can have become more frequent.
        for new_pair in changed:
            if piece in new_pair:
                heapq.heappush(self._heap, (-self._counts[new_pair], new_pair))
        return piece

    def _count_pairs(self, number: int, count: int) -> None:
        """Add `count` to the counts of all pairs of word `number`; remember that they occur in it.

        A negative `count` removes the counts of a word before it is changed, and records nothing.
        """
        for pair in pairwise(self._words[number]):
            self._counts[pair] += count
            if count > 0:
                self._places[pair].add(number)
