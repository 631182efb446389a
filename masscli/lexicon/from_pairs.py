"""A dictionary from pairs of lines, by Model 1 of Brown et al. (1993).

"The Mathematics of Statistical Machine Translation", section 4.2:

    t(f | e) = c(f | e) / sum_f' c(f' | e)
    c(f | e) = sum over lines with f and e of  t(f | e) / sum_{e' in line, and NULL} t(f | e')

The model is learned in both directions. A pair of words is kept where each is the other's likeliest
translation, which is not so of words that only occur together, or where the geometric mean of both t is at
least SURE, so that `a` is `ein`, `eine` and `einen`; but never below LEAST. The model knows nothing of order
and of phrases. A word is what stands between spaces in the tokenizer's text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from masscli.data.storage.columns import Column
from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon.dictionary import WordPair, vocabulary_pieces
from masscli.text.markers import SENTENCEPIECE_SPACE

ROUNDS = 10
"""Rounds of expectation maximization."""
SURE = 0.2
"""Score from which on a pair of words is kept even if they are not each other's likeliest translation."""
LEAST = 0.1
"""Lowest score of a pair of words that are each other's likeliest translation."""

Probabilities = dict[tuple[int, int], float]
"""Translation probabilities t(f | e) by (e, f), the numbers of a source word and a target word."""


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
    scores = _combine(model1(first_lines, second_lines), model1(second_lines, first_lines))
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
        # Words that only occur together are not each other's likeliest translation.
        threshold = LEAST if mutual else SURE
        if score >= threshold and common and differ:
            pairs.append(WordPair(first_words[first], second_words[second], score))
    # Words break ties, so that the file does not depend on the order of a table.
    return sorted(pairs, key=lambda pair: (-pair.score, pair.first, pair.second))


def model1(source_lines: Sequence[Sequence[int]], target_lines: Sequence[Sequence[int]]) -> Probabilities:
    """Return t(f | e) of every source word e and target word f that share a line, as {(e, f): t}.

    The lines hold words as numbers; lines with the same index are translations. Training takes ROUNDS rounds
    from the uniform distribution.
    """
    e, f, token = cooccurrences(source_lines, target_lines)
    if not len(e):
        return {}
    # Number the distinct pairs (e, f), and say which of them each co-occurrence is.
    width = int(f.max()) + 1
    pair_keys, pair = np.unique(e * width + f, return_inverse=True)
    e = pair_keys // width
    f = pair_keys % width
    # The first round normalizes, so any constant is the uniform distribution.
    t = np.ones(len(pair_keys))
    for _ in range(ROUNDS):
        # Expectation: each target token is shared out among the source words of its line.
        share = t[pair] / np.bincount(token, t[pair])[token]
        # Maximization: the shares of each pair, normalized over the target words of a source word.
        count = np.bincount(pair, share)
        t = count / np.bincount(e, count)[e]
    # The source word 0 is NULL, and the others count from 1.
    real = e > 0
    words = zip((e[real] - 1).tolist(), f[real].tolist(), strict=True)
    return dict(zip(words, t[real].tolist(), strict=True))


def _read_words(column: Column, rows: int, pieces: Sequence[str]) -> tuple[list[list[int]], list[str]]:
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


def cooccurrences(
    source_lines: Sequence[Sequence[int]], target_lines: Sequence[Sequence[int]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return all pairs of a target token with a source token of its line, or with the empty source word NULL.

    The result is three arrays with an entry for each pair: the number of the source word + 1 (0 for NULL),
    the number of the target word, and the index of the target token among all target tokens of the text.
    """
    source_words = [np.zeros(0, np.int64)]
    target_words = [np.zeros(0, np.int64)]
    target_tokens = [np.zeros(0, np.int64)]
    seen = 0
    for source, target in zip(source_lines, target_lines, strict=True):
        # A target word may come from no source word at all, which is the word NULL.
        with_null = np.array([-1, *source], np.int64) + 1
        source_words.append(np.tile(with_null, len(target)))
        target_words.append(np.repeat(np.array(target, np.int64), len(with_null)))
        target_tokens.append(np.repeat(np.arange(seen, seen + len(target)), len(with_null)))
        seen += len(target)
    return np.concatenate(source_words), np.concatenate(target_words), np.concatenate(target_tokens)
