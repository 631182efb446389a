"""A vocabulary shortlist from pairs of lines: the likely target pieces of each source piece.

Pieces are aligned by Model 1 of Brown et al. (1993, section 4.2; see masscli/lexicon/from_pairs.py), whose
probabilities t(f | e) say which target pieces f a source piece e stands beside for a reason. A source piece
itself is a candidate, too, since names and numbers are often copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Ids
from masscli.data.storage.columns import Column
from masscli.data.storage.data_folder import DataFolder
from masscli.generation.shortlist import Ngram, Shortlist
from masscli.lexicon.from_pairs import cooccurrences
from masscli.text.vocabulary import IdRanges

ROUNDS = 5
"""Rounds of expectation maximization; the ranking of candidates changes little after these."""
CHUNK_LINES = 5_000
"""How many pairs of lines are aligned at a time, which bounds the memory."""


class Coverage(NamedTuple):
    """How a shortlist fits pairs of lines that it was not made from."""

    candidates: float
    """Mean number of candidates of a sentence."""
    pieces: float
    """Share of the pieces of the target side that are candidates of their sentence, from 0 to 1."""


def learn_shortlist(
    data: DataFolder, source: str, target: str, per_piece: int, frequent: int, limit: int | None
) -> Shortlist:
    """Return a shortlist for translating from `source` to `target`, from the training pairs of a data folder.

    A source piece has its `per_piece` likeliest target pieces, and itself if it may be one; the `frequent`
    most frequent target pieces are candidates of every sentence. Only the first `limit` pairs are read (None:
    all). Raises MissingDataError if there are no training pairs of the languages.
    """
    columns = data.pair("train", source, target)
    rows = len(columns[0])
    if limit is not None:
        rows = min(limit, rows)
    size = data.vocab.size
    e, f, t = align_pieces(columns[0], columns[1], rows, size)
    # Source pieces in order, and the likeliest target pieces of each first; ids break ties.
    order = np.lexsort((f, -t, e))
    f = f[order]
    starts = np.searchsorted(e[order], np.arange(size + 1))
    candidates: dict[Ngram, Ids] = {(): _most_frequent(columns[1], rows, size, frequent)}
    ranges = data.vocab.id_ranges or IdRanges.all_of(size)
    for piece in data.vocab.ordinary_ids.tolist():
        if piece not in ranges.source:
            continue
        found = f[starts[piece] : starts[piece + 1]][:per_piece].tolist()
        # A piece may be copied. With a vocabulary for each side, a source piece is no target piece.
        if piece in ranges.target:
            found.append(piece)
        candidates[(piece,)] = np.unique(np.array(found, np.int64))
    return Shortlist(candidates)


def measure_coverage(shortlist: Shortlist, data: DataFolder, source: str, target: str) -> Coverage:
    """Return how well a shortlist fits the validation pairs of a data folder.

    Raises MissingDataError if the folder has no validation pairs of the two languages.
    """
    sources, targets = data.pair("valid", source, target)
    candidates = covered = pieces = 0
    for row in range(len(sources)):
        allowed = np.zeros(data.vocab.size, np.bool_)
        shortlist.mark(sources[row], allowed)
        candidates += int(allowed.sum())
        covered += int(allowed[targets[row]].sum())
        pieces += len(targets[row])
    return Coverage(candidates / max(1, len(sources)), covered / max(1, pieces))


def align_pieces(
    source: Column, target: Column, rows: int, vocab_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the source pieces e, target pieces f and t(f | e) of all pairs of pieces that share a line.

    Only the first `rows` lines of both columns are read. The result is three arrays of equal length, sorted
    by e and f, without pairs that have the empty source word NULL.
    """
    # Chunk by chunk, since all tokens together would take too much memory.
    keys_of_chunks = [np.unique(chunk_keys) for chunk_keys, _ in _chunks(source, target, rows, vocab_size)]
    keys = np.unique(np.concatenate(keys_of_chunks))
    e, f = np.divmod(keys, vocab_size)
    t = np.ones(len(keys))
    for _ in range(ROUNDS):
        count = np.zeros(len(keys))
        for pair_keys, token in _chunks(source, target, rows, vocab_size):
            pair = np.searchsorted(keys, pair_keys)
            # Expectation: each target token is shared out among the source pieces of its line.
            share = t[pair] / np.bincount(token, t[pair])[token]
            count += np.bincount(pair, share, minlength=len(keys))
        # Maximization: normalize over the target pieces of a source piece.
        t = count / np.bincount(e, count)[e]
    # The source word 0 is NULL, and the others count from 1.
    real = e > 0
    return e[real] - 1, f[real], t[real]


def _chunks(
    source: Column, target: Column, rows: int, vocab_size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the co-occurrences of pieces in chunks of lines, as two arrays with an entry for each.

    The first has (source piece + 1) * vocab_size + target piece, with 0 in place of source piece + 1 for
    NULL; the second has the index of the target token among those of the chunk.
    """
    for start in range(0, rows, CHUNK_LINES):
        lines = range(start, min(start + CHUNK_LINES, rows))
        source_lines = [source[row].tolist() for row in lines]
        target_lines = [target[row].tolist() for row in lines]
        e, f, token = cooccurrences(source_lines, target_lines)
        yield e * vocab_size + f, token


def _most_frequent(column: Column, rows: int, size: int, count: int) -> Ids:
    """Return the ids of the `count` most frequent pieces of a column's first `rows` lines, ascending.

    `size` is that of the vocabulary. Pieces that do not occur are left out.
    """
    counts = np.zeros(size, np.int64)
    for row in range(rows):
        counts += np.bincount(column[row], minlength=size)
    # A stable sort, so that of equally frequent pieces the first comes first.
    order = np.argsort(-counts, kind="stable")[:count]
    return np.sort(order[counts[order] > 0])
