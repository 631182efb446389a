"""Align the pieces of pairs of lines by Model 1 in both directions, with a preference for the diagonal.

Each piece of one side is linked to the piece e of the other side that maximizes

    t(f | e) * exp(-TENSION * | i / m - j / n |)

where t is that of Model 1 (see masscli/lexicon/model1.py), and i of m and j of n are the relative
positions of both pieces. The second factor is that of fast_align (Dyer et al. 2013, equation 2); here
it only decides between candidates, and is not used in training. A link is kept if both directions have
it, so links are few and mostly right, which suits supervision.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Ids
from masscli.data.formats.pharaoh import Links
from masscli.data.storage.columns import Column
from masscli.lexicon.model1 import align_pieces

TENSION = 4.0
"""Strength of the preference for the diagonal; the initial value in fast_align."""


def align_lines(source: Column, target: Column, vocab_size: int) -> Iterator[Links]:
    """Yield the alignment of each pair of lines of two columns of token ids, learned from these lines."""
    rows = len(source)
    forward = _Table(source, target, rows, vocab_size)
    backward = _Table(target, source, rows, vocab_size)
    for row in range(rows):
        source_ids = source[row]
        target_ids = target[row]
        closeness = _diagonal(len(source_ids), len(target_ids))
        # (source, target): each target piece chooses a source piece, and each source piece a target piece.
        by_target = forward.probabilities(source_ids, target_ids) * closeness
        by_source = backward.probabilities(target_ids, source_ids).T * closeness
        yield _mutual_links(by_target, by_source)


class _Table:
    """The translation probabilities t(f | e) of pieces that share a line in the first `rows` lines."""

    def __init__(
        self, source: Column, target: Column, rows: int, vocab_size: int
    ) -> None:
        self.vocab_size = vocab_size
        e, f, self._t = align_pieces(source, target, rows, vocab_size)
        # Sorted, as e and f are.
        self._keys = e * vocab_size + f

    def probabilities(self, source_ids: Ids, target_ids: Ids) -> NDArray[np.float64]:
        """Return t(f | e) of every piece of a line with every piece of the other side: (source, target)."""
        keys = source_ids[:, None] * self.vocab_size + target_ids
        return self._t[np.searchsorted(self._keys, keys)]


def _diagonal(source_length: int, target_length: int) -> NDArray[np.float64]:
    """Return the preference for each pair of positions (source, target), 1 at most."""
    source_places = (np.arange(source_length) + 0.5) / max(1, source_length)
    target_places = (np.arange(target_length) + 0.5) / max(1, target_length)
    distances = np.abs(source_places[:, None] - target_places)
    preference: NDArray[np.float64] = np.exp(-TENSION * distances)
    return preference


def _mutual_links(
    by_target: NDArray[np.float64], by_source: NDArray[np.float64]
) -> Links:
    """Return the links (source, target) that are the best of their target and the best of their source.

    Both arrays are (source, target): the first compares the sources of a target, the second the targets of a
    source.
    """
    if not by_target.size:
        return ()
    best_source = by_target.argmax(0)
    best_target = by_source.argmax(1)
    links = []
    for target, source in enumerate(best_source.tolist()):
        if best_target[source] == target:
            links.append((source, target))
    return tuple(links)
