"""A dictionary from unaligned text of two languages.

1. Word vectors and co-occurrences in each language (masscli/lexicon/cooccurrence.py). 2. Anchors: words that
   both languages spell alike, of four letters or more (shorter ones are false friends) or without letters,
   and about as frequent in both (Artetxe et al. 2017; Soegaard et al. 2018). 3. Several dictionaries learned
   from the anchors (masscli/lexicon/alignment.py), and their vote (masscli/lexicon/vote.py). 4. A final
   dictionary learned from the vote. Similar spelling increases the similarity of words
   (masscli/lexicon/spelling.py), and different frequency decreases it (masscli/lexicon/frequency.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.core.files import write_atomic
from masscli.data.batches.batch import Ids
from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon.alignment import align_vectors, refine_pairs, similarity
from masscli.lexicon.cooccurrence import (
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
    numbers: three quarters for captions, and less than one quarter if only anchors connect the texts."""
    words: list[list[str]]
    """The words of each language, the commonest first."""
    vectors: tuple[Tensor, Tensor]
    """The vectors (N, D) of each language's `words` in one common space; the axes on which the languages
    agree most come first."""


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
    pieces = vocabulary_pieces(data)
    check_languages(data, languages)
    ids = []
    rates = []
    spaces = []
    for language in languages:
        counts = count_words(iter_words(data, language, pieces, limit), len(pieces))
        chosen = _commonest_words(counts, max_words, min_count)
        if len(chosen) < MIN_WORDS:
            raise MasscliError(
                f"{data.folder}: has {len(chosen)} words of {language} that occur {min_count} times",
                "lower --min-count, or add text",
            )
        ids.append(chosen)
        rates.append(counts / counts.sum())
        spaces.append(word_space(iter_words(data, language, pieces, limit), chosen))
    anchors = _find_anchors(ids, rates, pieces)
    if len(anchors[0]) < MIN_WORDS:
        raise MasscliError(
            f"{data.folder}: {' and '.join(languages)} spell {len(anchors[0])} words alike, "
            "too few to begin with",
            "make the dictionary from pairs, or from a trained model",
        )
    words = []
    for side in ids:
        words.append([pieces[i].removeprefix(SENTENCEPIECE_SPACE) for i in side])
    frequencies = [
        torch.from_numpy(rate[side]) for rate, side in zip(rates, ids, strict=True)
    ]
    likeness = spelling_similarity(*words) + frequency_similarity(*frequencies).float()
    first, second = spaces
    halves = vote(first, second, anchors, likeness)
    learned = refine_pairs(
        first, second, anchors, likeness, scores=(halves[0] + halves[1]) / 2
    )
    scores = similarity(first, second, learned) + likeness
    matches = mutual_nearest_pairs(scores)
    agreement = _agreement(*(mutual_nearest_pairs(half) for half in halves))
    aligned = align_vectors(first.vectors, second.vectors, learned)
    pairs = []
    # The rank of a pair is that of its rarer word. A word that both languages spell alike exchanges nothing.
    for i, j in sorted(matches, key=max):
        if words[0][i] != words[1][j]:
            pairs.append(WordPair(words[0][i], words[1][j], float(scores[i, j])))
    return InducedDictionary(pairs, agreement, words, aligned)


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


def _commonest_words(counts: NDArray[np.int64], max_words: int, min_count: int) -> Ids:
    """Return the ids of at most `max_words` words that occur at least `min_count` times, commonest first."""
    # Counts fall along the sorted list, so those that are large enough are its beginning.
    enough = int((counts >= min_count).sum())
    return np.argsort(-counts, kind="stable")[:enough][:max_words]


def _find_anchors(
    ids: Sequence[Ids], rates: Sequence[NDArray[np.float64]], pieces: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Return the anchors: words that both languages spell alike and use with similar frequency.

    The result is their rows in the first and in the second list of `ids`, two arrays. `rates` are the
    relative frequencies of all pieces in each language, by id, and `pieces` the names of the pieces.
    """
    row_in_second = {piece: row for row, piece in enumerate(ids[1].tolist())}
    anchors = []
    for row, piece in enumerate(ids[0].tolist()):
        if piece not in row_in_second:
            continue
        word = pieces[piece].removeprefix(SENTENCEPIECE_SPACE)
        long_enough = len(word) >= MIN_ANCHOR_LETTERS or not any(
            c.isalpha() for c in word
        )
        # A word of both lists occurs in both languages, so neither rate is 0.
        ratio = rates[0][piece] / rates[1][piece]
        if long_enough and 1 / MAX_FREQUENCY_RATIO < ratio < MAX_FREQUENCY_RATIO:
            anchors.append((row, row_in_second[piece]))
    first, second = torch.tensor(anchors, dtype=torch.int64).reshape(-1, 2).unbind(1)
    return first, second


def _agreement(
    matches: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]
) -> float:
    """Return the share, from 0 to 1, of the pairs in `matches` that `others` has, too.

    Only pairs whose words are both among the COMMON_WORDS commonest of their languages are counted. A pair is
    two ranks of words, from 0 for the commonest.
    """
    common = [match for match in matches if max(match) < COMMON_WORDS]
    return len(set(others).intersection(common)) / max(1, len(common))
