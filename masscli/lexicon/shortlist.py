"""A vocabulary shortlist from pairs of lines: the likely target pieces of each source piece.

Pieces are aligned by Model 1 (see masscli/lexicon/model1.py), whose probabilities t(f | e) say which
target pieces f with which a source piece e co-occurs more often than by chance. A source piece itself
is a candidate, too, since names and numbers are often copied.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Ids
from masscli.data.storage.columns import count_pieces
from masscli.data.storage.data_folder import DataFolder
from masscli.generation.shortlist import Ngram, Shortlist
from masscli.lexicon.model1 import align_pieces
from masscli.text.vocabulary import IdRanges


class Coverage(NamedTuple):
    """How a shortlist fits pairs of lines that it was not made from."""

    candidates: float
    """Mean number of candidates of a sentence."""
    pieces: float
    """Share of the pieces of the target side that are candidates of their sentence, from 0 to 1."""


def learn_shortlist(
    data: DataFolder,
    source: str,
    target: str,
    per_piece: int,
    frequent: int,
    limit: int | None,
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
    counts = count_pieces(columns[1].select(np.arange(rows)), size)
    candidates: dict[Ngram, Ids] = {(): _most_frequent(counts, frequent)}
    ranges = data.vocab.id_ranges or IdRanges.all_of(size)
    for piece in data.vocab.ordinary_ids.tolist():
        if piece not in ranges.source:
            continue
        likeliest = f[starts[piece] : starts[piece + 1]][:per_piece].tolist()
        # A piece may be copied. With a vocabulary for each side, a source piece is not a target piece.
        if piece in ranges.target:
            likeliest.append(piece)
        candidates[(piece,)] = np.unique(np.array(likeliest, np.int64))
    return Shortlist(candidates, f"{source}-{target}")


def measure_coverage(
    shortlist: Shortlist, data: DataFolder, source: str, target: str
) -> Coverage:
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


def _most_frequent(counts: NDArray[np.int64], number: int) -> Ids:
    """Return the `number` most frequent of V pieces, whose `counts` are (V,), as ids in ascending order.

    Pieces that do not occur are left out.
    """
    # A stable sort, so that of equally frequent pieces the first comes first.
    order = np.argsort(-counts, kind="stable")[:number]
    return np.sort(order[counts[order] > 0])
