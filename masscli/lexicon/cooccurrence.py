"""Word vectors of one language from text in that language only.

Vectors are computed from co-occurrences: positive pointwise mutual information with the most frequent
words around a word, the frequencies of contexts raised to the power 0.75, reduced to the largest
singular vectors times the square roots of their singular values (Levy, Goldberg & Dagan 2015, sections
2 and 3). The vectors of a narrow and a wide window are concatenated.

A word is a single piece of the vocabulary, since only such words can be exchanged; words of several
pieces only take up positions in the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masscli.data.batches.batch import Ids
from masscli.data.storage.data_folder import DataFolder
from masscli.text.markers import SENTENCEPIECE_SPACE

WINDOWS = (3, 12)
"""Number of context words on each side, in the narrow and the wide window."""
MAX_CONTEXTS = 3000
"""Number of most frequent words that count as contexts."""
CONTEXT_POWER = 0.75
"""The power to which the frequencies of contexts are raised."""
VECTOR_DIM = 128
"""Width of the vectors of one window."""
CHUNK_LINES = 20_000
"""Number of lines of text that are processed at a time."""
OTHER_WORD = -1
"""The number that stands for a word of several pieces, and for the gap between lines."""


def iter_words(
    data: DataFolder, language: str, pieces: Sequence[str], limit: int | None
) -> Iterator[Ids]:
    """Yield the words of a language's training text, in chunks of lines, as one number for each word.

    Only the first `limit` lines are read (None: all). The number is the id of the word's piece, whose names
    are `pieces`, or OTHER_WORD for a word of several pieces. Lines are separated by so many OTHER_WORDs that
    no window reaches across.
    """
    # A piece that is just the marker begins a word but is not one.
    begins_word = np.array(
        [piece.startswith(SENTENCEPIECE_SPACE) and len(piece) > 1 for piece in pieces]
    )
    column = data.monolingual("train", language)
    rows = len(column) if limit is None else min(limit, len(column))
    gap = np.full(max(WINDOWS), OTHER_WORD, np.int64)
    for start in range(0, rows, CHUNK_LINES):
        parts = []
        for row in range(start, min(start + CHUNK_LINES, rows)):
            ids = column[row]
            word_starts = np.flatnonzero(begins_word[ids])
            # The next word starts right after its only piece.
            is_single_piece = np.diff(word_starts, append=len(ids)) == 1
            parts += [np.where(is_single_piece, ids[word_starts], OTHER_WORD), gap]
        yield np.concatenate(parts)


def count_words(chunks: Iterable[Ids], size: int) -> NDArray[np.int64]:
    """Return how often each of the ids 0 to `size` - 1 occurs in chunks as `iter_words` yields them."""
    counts = np.zeros(size, np.int64)
    for chunk in chunks:
        counts += np.bincount(chunk[chunk != OTHER_WORD], minlength=size)
    return counts


class WordSpace(NamedTuple):
    """How the N words of a language are used in its text: their vectors and contexts; commonest first."""

    vectors: Tensor
    """Unit vectors (N, len(WINDOWS) * VECTOR_DIM)."""
    information: list[Tensor]
    """For each window, the positive pointwise mutual information (N, contexts) of each word with the first
    MAX_CONTEXTS words, the contexts."""


def word_space(chunks: Iterable[Ids], words: Ids) -> WordSpace:
    """Return the vectors and contexts of N words, computed from the words around them in a text.

    `words` are piece ids, the commonest word first, and `chunks` is the text, as `iter_words` yields it.
    """
    tables = count_cooccurrences(chunks, words)
    information = [mutual_information(table) for table in tables]
    parts = [center_and_normalize(reduce_information(table)) for table in information]
    # The vectors of two windows were normalized one by one, and are now taken as one vector.
    return WordSpace(center_and_normalize(torch.cat(parts, 1)), information)


def count_cooccurrences(chunks: Iterable[Ids], words: Ids) -> list[NDArray[np.float64]]:
    """Return a table (N, contexts) for each window: how often each word occurs near each context word.

    `words` are N piece ids, the commonest word first, of which the first MAX_CONTEXTS are the contexts.
    `chunks` is the text, as `iter_words` yields it. A pair of words at distance d counts 1 / d.
    """
    contexts = min(MAX_CONTEXTS, len(words))
    tables = [np.zeros(len(words) * contexts) for _ in WINDOWS]
    # The index of each piece among `words`, and OTHER_WORD for all other pieces.
    index_of = np.full(int(words.max()) + 2, OTHER_WORD, np.int64)
    index_of[words] = np.arange(len(words))
    for chunk in chunks:
        indices = index_of[np.where(chunk < len(index_of), chunk, OTHER_WORD)]
        # Shifting the text relative to itself pairs all words at one distance.
        for distance in range(1, max(WINDOWS) + 1):
            before = indices[:-distance]
            after = indices[distance:]
            # Context is on both sides of a word.
            for word, context in ((before, after), (after, before)):
                is_pair = (word >= 0) & (context >= 0) & (context < contexts)
                cells = word[is_pair] * contexts + context[is_pair]
                counts = np.bincount(cells, minlength=len(words) * contexts) / distance
                # The narrow window has all pairs of the wide one at its distances, so one pass counts for
                # both.
                for table, window in zip(tables, WINDOWS, strict=True):
                    if distance <= window:
                        table += counts
    return [table.reshape(len(words), contexts) for table in tables]


def mutual_information(counts: NDArray[np.float64]) -> Tensor:
    """Return the positive pointwise mutual information of co-occurrence counts, both (N, contexts)."""
    context_weights = counts.sum(0) ** CONTEXT_POWER
    expected = counts.sum(1, keepdims=True) * (context_weights / context_weights.sum())
    # A word without any context has no ratio, and keeps 0.
    ratio = np.divide(counts, expected, out=np.zeros_like(counts), where=expected > 0)
    # A ratio below 1 counts as 1, which makes the mutual information positive.
    return torch.from_numpy(np.log(np.maximum(ratio, 1.0))).float()


def reduce_information(information: Tensor) -> Tensor:
    """Return vectors (N, VECTOR_DIM) of N words from their mutual information with contexts (N, contexts).

    They are its left singular vectors, times the square roots of the singular values.
    """
    # Some more vectors than needed make the last ones more accurate (Halko et al. 2011).
    rank = min(VECTOR_DIM + 20, information.shape[1])
    # It starts from random vectors. The caller's random numbers stay as they are.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        u, s, _ = torch.svd_lowrank(information, rank, niter=4)
    vectors = u[:, :VECTOR_DIM] * s[:VECTOR_DIM].sqrt()
    # A small vocabulary has fewer singular vectors than asked for.
    return torch.nn.functional.pad(vectors, (0, VECTOR_DIM - vectors.shape[1]))


def center_and_normalize(vectors: Tensor) -> Tensor:
    """Scale vectors (N, D) to length 1, subtract their mean, and scale them to length 1 again."""
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    return torch.nn.functional.normalize(vectors - vectors.mean(0), dim=1)
