"""A dictionary from pairs of lines, by Model 1 (see masscli/lexicon/model1.py).

The model is learned in both directions. A pair of words is kept if each is the most likely translation
of the other, which excludes words that merely co-occur, or if the geometric mean of both t is at least
SURE, so that `a` can be `ein`, `eine` and `einen`; but never below LEAST. The model ignores word order
and phrases. A word is a string between spaces in the tokenizer's text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from masscli.data.storage.columns import Column
from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon.dictionary import WordPair, vocabulary_pieces
from masscli.lexicon.model1 import Probabilities, model1
from masscli.text.markers import SENTENCEPIECE_SPACE

SURE = 0.2
"""Score from which a pair of words is kept even if they are not each other's most likely translation."""
LEAST = 0.1
"""Minimum score of a pair of words that are each other's most likely translation."""


def induce(
    data: DataFolder, languages: Sequence[str], min_count: int, limit: int | None = None
) -> list[WordPair]:
    """Return word pairs learned from the training sentence pairs of two languages, the surest first.

    Only the first `limit` sentence pairs are read (None: all). The score is the geometric mean of the
    translation probabilities in both directions. It is at least SURE, or at least LEAST where no other word
    scores higher with either of the two. Words that occur fewer than `min_count` times, and pairs that are
    spelled alike, are left out.
    """
    columns = data.pair("train", languages[0], languages[1])
    rows = len(columns[0]) if limit is None else min(limit, len(columns[0]))
    pieces = vocabulary_pieces(data)
    first_lines, first_words = _read_words(columns[0], rows, pieces)
    second_lines, second_words = _read_words(columns[1], rows, pieces)
    scores = _combine(
        model1(first_lines, second_lines), model1(second_lines, first_lines)
    )
    best_of_first: dict[int, float] = {}
    best_of_second: dict[int, float] = {}
    for (first, second), score in scores.items():
        best_of_first[first] = max(best_of_first.get(first, 0.0), score)
        best_of_second[second] = max(best_of_second.get(second, 0.0), score)
    first_counts = _count_words(first_lines)
    second_counts = _count_words(second_lines)
    pairs = []
    for (first, second), score in scores.items():
        mutual = score == best_of_first[first] == best_of_second[second]
        common = min(first_counts[first], second_counts[second]) >= min_count
        differ = first_words[first] != second_words[second]
        # Words that merely co-occur are not each other's most likely translation.
        threshold = LEAST if mutual else SURE
        if score >= threshold and common and differ:
            pairs.append(WordPair(first_words[first], second_words[second], score))
    # Words break ties, so that the file does not depend on the order of a table.
    return sorted(pairs, key=lambda pair: (-pair.score, pair.first, pair.second))


def _read_words(
    column: Column, rows: int, pieces: Sequence[str]
) -> tuple[list[list[int]], list[str]]:
    """Return the first `rows` lines of a column as lists of word numbers, and the words by number.

    Words are numbered in the order in which they first occur. `pieces` are the names of pieces by id.
    """
    numbers: dict[str, int] = {}
    lines = []
    for row in range(rows):
        text = "".join(pieces[i] for i in column[row].tolist())
        words = [word for word in text.split(SENTENCEPIECE_SPACE) if word]
        lines.append([numbers.setdefault(word, len(numbers)) for word in words])
    return lines, list(numbers)


def _count_words(lines: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return how often each word number occurs in the lines; the index is the number."""
    words = np.concatenate([np.array(line, np.int64) for line in lines])
    return np.bincount(words, minlength=1)


def _combine(forward: Probabilities, backward: Probabilities) -> Probabilities:
    """Return the geometric mean of the translation probabilities in both directions, by (first, second) word.

    A pair that `backward`, whose keys are (second, first), does not have gets 0.
    """
    scores = {}
    for (first, second), t in forward.items():
        scores[first, second] = (t * backward.get((second, first), 0.0)) ** 0.5
    return scores
