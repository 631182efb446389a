"""A dictionary from unaligned text of two languages.

It is made in four steps:

1. Co-occurrences are counted, and word vectors computed, in each language (masscli/lexicon/cooccurrence.py).
2. The anchors are words that both languages spell alike and use about equally often. They have four letters
   or more, since shorter ones are false friends, or no letters (Artetxe et al. 2017; Soegaard et al. 2018).
3. Several dictionaries are learned from the anchors (masscli/lexicon/alignment.py), and vote
   (masscli/lexicon/vote.py).
4. The final dictionary is learned from the vote.

In all of them similar spelling increases the similarity of words (masscli/lexicon/spelling.py), and different
frequency decreases it (masscli/lexicon/frequency.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masscli.core.atomic_files import write_atomic
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon.alignment import align_vectors, refine_pairs, usage_similarity
from masscli.lexicon.cooccurrence import (
    WordSpace,
    count_words,
    iter_words,
    word_space,
)
from masscli.lexicon.csls import mutual_nearest_pairs
from masscli.lexicon.dictionary import WordPair, check_languages, vocabulary_pieces
from masscli.lexicon.frequency import frequency_similarity
from masscli.lexicon.spelling import spelling_similarity
from masscli.lexicon.vote import vote
from masscli.text.markers import SENTENCEPIECE_SPACE

MIN_ANCHOR_LETTERS = 4
"""Minimum number of letters of an anchor; words without letters, such as numbers, may have any length."""
MAX_FREQUENCY_RATIO = 5.0
"""An anchor may be less than this many times as frequent in one language as in the other."""
MIN_WORDS = 10
"""Minimum number of words of each language, and of anchors, for making a dictionary."""
COMMON_WORDS = 500
"""Number of most frequent words of each language that are compared to see whether two dictionaries
agree; on rarer words they seldom do."""


class InducedDictionary(NamedTuple):
    """A dictionary, an estimate of its quality, and the word vectors that it was made from."""

    pairs: list[WordPair]
    """Words that are each other's nearest neighbors, the commonest first; without pairs of two equal words.
    Scores of different words cannot be compared, since the similarities of rare words are high by chance."""
    agreement: float
    """The share of pairs of common words that both halves of the vote find, which differ in their random
    numbers: three quarters for captions, and a quarter or less if only anchors connect the texts."""
    words: list[list[str]]
    """The words of each language, the commonest first."""
    vectors: tuple[Tensor, Tensor]
    """The vectors (N, D) of each language's `words` in one common space; the axes on which the languages
    agree most come first."""


class _Language(NamedTuple):
    """The words of one language that are compared, the commonest first."""

    words: list[str]
    frequencies: NDArray[np.float64]
    """The share of each word in the text, above 0."""
    space: WordSpace


def induce(
    data: DataFolder,
    languages: Sequence[str],
    max_words: int,
    min_count: int,
    limit: int | None = None,
) -> InducedDictionary:
    """Return a dictionary made from unaligned text of two languages: words that are nearest neighbors.

    Of each language the `max_words` commonest words are considered that occur at least `min_count` times in
    the first `limit` lines. Raises MasscliError where there are too few words or anchors.
    """
    check_languages(data, languages)
    first, second = (
        _read_language(data, language, max_words, min_count, limit)
        for language in languages
    )
    anchors = _find_anchors(first, second)
    if len(anchors[0]) < MIN_WORDS:
        raise MasscliError(
            f"{data.folder}: {' and '.join(languages)} spell {len(anchors[0])} words alike, "
            "too few to begin with",
            "make the dictionary from pairs, or from a trained model",
        )
    prior = _prior_similarity(first, second)
    halves = vote(first.space, second.space, anchors, prior)
    vote_scores = (halves[0] + halves[1]) / 2
    known = refine_pairs(first.space, second.space, anchors, prior, vote_scores)
    scores = usage_similarity(first.space, second.space, known) + prior
    pairs = []
    # The rank of a pair is that of its rarer word. A word that both languages spell alike exchanges nothing.
    for i, j in sorted(mutual_nearest_pairs(scores), key=max):
        if first.words[i] != second.words[j]:
            pairs.append(WordPair(first.words[i], second.words[j], float(scores[i, j])))
    return InducedDictionary(
        pairs,
        agreement=_agreement(*(mutual_nearest_pairs(half) for half in halves)),
        words=[first.words, second.words],
        vectors=align_vectors(first.space.vectors, second.space.vectors, known),
    )


def write_vectors(
    prefix: Path, languages: Sequence[str], induced: InducedDictionary, dim: int
) -> None:
    """Write the vectors of each language to the text file PREFIX.LANGUAGE, in the format of word2vec.

    Only the `dim` axes are written on which the languages agree most. Raises MasscliError when there are
    fewer.
    """
    for language, words, vectors in zip(
        languages, induced.words, induced.vectors, strict=True
    ):
        axes = vectors.shape[1]
        # There are no further axes to write.
        if dim > axes:
            raise MasscliError(
                f"--dim {dim}: the vectors have {axes} dimensions",
                f"give --dim {axes} at most",
            )
        lines = [f"{len(words)} {dim}\n"]
        for word, row in zip(words, vectors[:, :dim].tolist(), strict=True):
            values = " ".join(f"{value:.5f}" for value in row)
            lines.append(f"{word} {values}\n")
        write_atomic(
            prefix.with_name(f"{prefix.name}.{language}"), "".join(lines).encode()
        )


def _read_language(
    data: DataFolder, language: str, max_words: int, min_count: int, limit: int | None
) -> _Language:
    """Return the words of a language in its training text; the arguments are those of `induce`.

    Raises MasscliError if there are fewer than MIN_WORDS.
    """
    pieces = vocabulary_pieces(data)
    counts = count_words(iter_words(data, language, pieces, limit), len(pieces))
    ids = _commonest_words(counts, max_words, min_count)
    if len(ids) < MIN_WORDS:
        raise MasscliError(
            f"{data.folder}: has {len(ids)} words of {language} that occur {min_count} times",
            "lower --min-count, or add text",
        )
    return _Language(
        words=[pieces[i].removeprefix(SENTENCEPIECE_SPACE) for i in ids],
        frequencies=counts[ids] / counts.sum(),
        space=word_space(iter_words(data, language, pieces, limit), ids),
    )


def _commonest_words(counts: NDArray[np.int64], max_words: int, min_count: int) -> Ids:
    """Return the ids of at most `max_words` words that occur at least `min_count` times, commonest first."""
    # Counts fall along the sorted list, so those that are large enough are its beginning.
    enough = int((counts >= min_count).sum())
    return np.argsort(-counts, kind="stable")[:enough][:max_words]


def _prior_similarity(first: _Language, second: _Language) -> Tensor:
    """Return the similarity (N, M) of words in spelling and frequency, which is known before learning."""
    spelling = spelling_similarity(first.words, second.words)
    # In float64, in which frequencies were computed.
    frequency = frequency_similarity(
        torch.from_numpy(first.frequencies), torch.from_numpy(second.frequencies)
    )
    return spelling + frequency.float()


def _find_anchors(first: _Language, second: _Language) -> tuple[Tensor, Tensor]:
    """Return the anchors: words that both languages spell alike and use with similar frequency.

    The result is their ranks in the first and in the second language, two tensors.
    """
    rank_in_second = {word: rank for rank, word in enumerate(second.words)}
    anchors = []
    for rank, word in enumerate(first.words):
        other_rank = rank_in_second.get(word)
        if other_rank is None:
            continue
        is_long_enough = len(word) >= MIN_ANCHOR_LETTERS or not any(
            character.isalpha() for character in word
        )
        ratio = first.frequencies[rank] / second.frequencies[other_rank]
        if is_long_enough and 1 / MAX_FREQUENCY_RATIO < ratio < MAX_FREQUENCY_RATIO:
            anchors.append((rank, other_rank))
    first_ranks, second_ranks = (
        torch.tensor(anchors, dtype=torch.int64).reshape(-1, 2).unbind(1)
    )
    return first_ranks, second_ranks


def _agreement(
    matches: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]
) -> float:
    """Return the share, from 0 to 1, of the pairs in `matches` that `others` has, too.

    Only pairs whose words are both among the COMMON_WORDS commonest of their languages are counted. A pair is
    two ranks of words, from 0 for the commonest.
    """
    common = [match for match in matches if max(match) < COMMON_WORDS]
    return len(set(others).intersection(common)) / max(1, len(common))
