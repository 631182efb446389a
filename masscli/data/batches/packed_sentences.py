"""Running text packed into blocks of whole sentences (Liu et al. 2019, section 4.2).

Every sentence is closed by a separator.  A block is filled with sentences until the next would not fit; it may cross documents, and then
a second separator stands between them (full-sentences), or it ends with its document (doc-sentences).  A sentence that is longer than a
block is cut into blocks of its own.  The index holds four numbers a block; text is read when it is asked for.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Ids
from masscli.data.batches.dataset import Example, RaggedColumn
from masscli.text.word_starts import WordStarts


class Documents(RaggedColumn, Protocol):
    """A column that knows at which rows its documents start."""

    @property
    def document_starts(self) -> NDArray[np.int64]: ...


class PackedSentenceDataset:
    """Blocks of at most `size` tokens; examples have the ids, separators included, and which of them begin a word (`starts`)."""

    def __init__(
        self,
        column: Documents,
        size: int,
        separator: int,
        *,
        cross: bool,
        starts: WordStarts,
        limit: int | None = None,
    ) -> None:
        self.column, self.size, self.separator, self.cross, self.starts = (
            column,
            size,
            separator,
            cross,
            starts,
        )
        rows = len(column) if limit is None else min(limit, len(column))
        firsts = column.document_starts
        self._first = np.zeros(rows + 1, np.bool_)
        self._first[firsts[firsts < rows]] = True
        self._index = self._pack(
            column.lengths(0, rows).astype(np.int64) + 1, np.append(firsts[firsts < rows], rows)
        )

    def __len__(self) -> int:
        return len(self._index)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """With the symbol that stands before a block."""
        return self._index[start:stop, 3:] + 1

    def __getitem__(self, row: int) -> Example:
        first, last, skipped, length = self._index[row].tolist()
        parts: list[Ids] = []
        for at in range(first, last):
            if at > first and self.cross and self._first[at]:
                parts.append(np.array([self.separator]))
            parts += [self.column[at], np.array([self.separator])]
        ids = np.concatenate(parts)[skipped : skipped + length]
        return Example(row, (ids, self.starts(ids).astype(np.int64)))

    def _pack(self, costs: NDArray[np.int64], bounds: NDArray[np.int64]) -> NDArray[np.int64]:
        """(blocks, 4): first row, row after the last, tokens of the first to skip, length."""
        between = self._first[:-1] if self.cross else np.zeros(len(costs), np.bool_)
        ends = np.cumsum(costs + between)
        blocks, row = [], 0
        while row < len(costs):
            before = int(ends[row] - costs[row])
            stop = int(np.searchsorted(ends, before + self.size, side="right"))
            if not self.cross:
                stop = min(stop, int(bounds[np.searchsorted(bounds, row, side="right")]))
            if stop > row:
                blocks.append((row, stop, 0, int(ends[stop - 1]) - before))
            else:
                stop, cost = row + 1, int(costs[row])
                blocks += [(row, stop, at, min(self.size, cost - at)) for at in range(0, cost, self.size)]
            row = stop
        return np.array([block for block in blocks if block[3] > 1], np.int64).reshape(-1, 4)
