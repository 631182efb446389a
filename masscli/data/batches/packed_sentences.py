"""Running text packed into blocks of whole sentences, as in RoBERTa (Liu et al. 2019, section 4.2).

A separator follows every sentence. A block is filled with sentences until the next one would not fit.
It may cross documents, with a second separator between them (full-sentences), or it ends with its
document (doc-sentences). A sentence that is longer than a block is split into several blocks, which
contain nothing else. Only an index of four numbers for each block is kept in memory; text is read when
an example is requested.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Ids
from masscli.data.batches.dataset import Example, limited
from masscli.data.storage.columns import RaggedColumn
from masscli.text.word_starts import WordStarts

ROWS_AT_A_TIME = 1 << 18
"""The number of rows that are packed into blocks at a time."""


class DocumentColumn(RaggedColumn, Protocol):
    """The interface of a column that knows which of its rows start a document."""

    @property
    def document_starts(self) -> NDArray[np.int64]: ...


class PackedSentenceDataset:
    """A dataset of blocks of whole sentences, each of at most `size` tokens.

    An example has two fields: the ids of a block, separators included, and for each id 1 if it begins a word
    (as `starts` says) or else 0. With `cross`, blocks may cross documents. `limit` is the number of sentences
    used, from the first; None uses all.
    """

    def __init__(
        self,
        column: DocumentColumn,
        size: int,
        separator: int,
        *,
        cross: bool,
        starts: WordStarts,
        limit: int | None = None,
    ) -> None:
        self.column = column
        self.size = size
        self.separator = separator
        self.cross = cross
        self.starts = starts
        self._rows = limited(len(column), limit)
        document_starts = column.document_starts
        self._document_starts = document_starts[document_starts < self._rows]
        self._index = self._pack()

    def __len__(self) -> int:
        return len(self._index)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the length of each block plus 1 for the special token before it: (stop - start, 1)."""
        return self._index[start:stop, 3:] + 1

    def __getitem__(self, number: int) -> Example:
        first, last, skipped, length = self._index[number].tolist()
        separator = np.array([self.separator])
        starts_document = self._find_document_starts(first, last)
        parts: list[Ids] = []
        for row in range(first, last):
            # A block that begins with a document needs no separator before it.
            if row > first and self.cross and starts_document[row - first]:
                parts.append(separator)
            parts += [self.column[row], separator]
        ids = np.concatenate(parts)[skipped : skipped + length]
        return Example(number, (ids, self.starts(ids).astype(np.int64)))

    def _find_document_starts(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Return (stop - start,) for each of the rows `start` to `stop` - 1 whether it starts a document."""
        first, last = np.searchsorted(self._document_starts, [start, stop])
        starts_document = np.zeros(stop - start, np.bool_)
        starts_document[self._document_starts[first:last] - start] = True
        return starts_document

    def _pack(self) -> NDArray[np.int64]:
        """Return an index of the blocks (N, 4): first row, row after the last, tokens to skip, length.

        A block that would consist only of a separator is left out.
        """
        # Rows are packed some at a time, so that no array grows with the corpus but the index. Each row has a
        # separator, so that a block has no more than `size` rows, and at least one is complete each time.
        most_rows = max(ROWS_AT_A_TIME, self.size + 1)
        parts = [np.zeros((0, 4), np.int64)]
        row = 0
        while row < self._rows:
            stop = min(self._rows, row + most_rows)
            blocks, row = self._pack_rows(row, stop)
            parts.append(np.array(blocks, np.int64).reshape(-1, 4))
        index = np.concatenate(parts)
        # A block of one token is only a separator, from which nothing can be learned.
        return index[index[:, 3] > 1]

    def _pack_rows(
        self, start: int, stop: int
    ) -> tuple[list[tuple[int, int, int, int]], int]:
        """Return the blocks of the rows `start` to `stop` - 1, and the row that the next block begins with.

        A block that might continue after `stop` is left to the next call, unless the text ends there.
        """
        starts_document = self._find_document_starts(start, stop)
        # Every sentence is followed by a separator.
        lengths = self.column.lengths(start, stop).astype(np.int64) + 1
        # Documents are separated by a second separator, which is counted with the sentence after it.
        separated_lengths = lengths
        if self.cross:
            separated_lengths = lengths + starts_document
        ends = np.cumsum(separated_lengths)
        # A block that begins with a document has no second separator before it.
        begins = ends - lengths
        # For each row as the first of a block, the row after the last one that fits.
        block_ends = np.searchsorted(ends, begins + self.size, side="right")
        # Without `cross` a block ends with its document.
        if not self.cross:
            bounds = np.append(np.flatnonzero(starts_document), stop - start)
            next_document = bounds[
                np.searchsorted(bounds, np.arange(stop - start), side="right")
            ]
            block_ends = np.minimum(block_ends, next_document)
        blocks: list[tuple[int, int, int, int]] = []
        row = 0
        while row < stop - start:
            block_end = int(block_ends[row])
            # The next rows, which are not read yet, may fit into this block as well.
            if block_end == stop - start and stop < self._rows:
                break
            if block_end > row:
                length = int(ends[block_end - 1] - begins[row])
                blocks.append((start + row, start + block_end, 0, length))
            else:
                # A sentence that is longer than a block: its pieces are blocks of their own, since the
                # sentence after it begins a new block.
                block_end = row + 1
                length = int(lengths[row])
                for skipped in range(0, length, self.size):
                    piece = min(self.size, length - skipped)
                    blocks.append((start + row, start + block_end, skipped, piece))
            row = block_end
        return blocks, start + row
