"""Running text packed into blocks of whole sentences, as RoBERTa reads it (Liu et al. 2019, section 4.2).

A separator follows every sentence. A block is filled with sentences until the next one would not fit. It may
cross documents, and then a second separator stands between them (full-sentences), or it ends with its
document (doc-sentences). A sentence that is longer than a block is cut into several blocks, which hold
nothing else. Only an index of four numbers for each block is kept in memory; text is read when an example is
asked for.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Ids
from masscli.data.batches.dataset import Example
from masscli.data.storage.columns import RaggedColumn
from masscli.text.word_starts import WordStarts


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
        rows = len(column) if limit is None else min(limit, len(column))
        document_starts = column.document_starts[column.document_starts < rows]
        self._starts_document = np.zeros(rows + 1, np.bool_)
        self._starts_document[document_starts] = True
        # Every sentence is followed by a separator.
        lengths = column.lengths(0, rows).astype(np.int64) + 1
        self._index = self._pack(lengths, np.append(document_starts, rows))

    def __len__(self) -> int:
        return len(self._index)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the length of each block plus 1 for the special token before it: (stop - start, 1)."""
        return self._index[start:stop, 3:] + 1

    def __getitem__(self, number: int) -> Example:
        first, last, skipped, length = self._index[number].tolist()
        separator = np.array([self.separator])
        parts: list[Ids] = []
        for row in range(first, last):
            # A block that begins with a document needs no separator before it.
            if row > first and self.cross and self._starts_document[row]:
                parts.append(separator)
            parts += [self.column[row], separator]
        ids = np.concatenate(parts)[skipped : skipped + length]
        return Example(number, (ids, self.starts(ids).astype(np.int64)))

    def _pack(self, lengths: NDArray[np.int64], document_bounds: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return an index of the blocks (N, 4): first row, row after the last, tokens to skip, length.

        `lengths` are the lengths of the sentences, each with its separator. `document_bounds` are the rows at
        which documents start, and finally the number of rows. A piece of one token, a separator alone, is
        left out.
        """
        # Between documents stands a second separator, which is counted with the sentence after it.
        extra_separators = np.zeros(len(lengths), np.bool_)
        if self.cross:
            extra_separators = self._starts_document[:-1]
        ends = np.cumsum(lengths + extra_separators)
        blocks: list[tuple[int, int, int, int]] = []
        row = 0
        while row < len(lengths):
            # Without the second separator before the row, since the block begins here.
            begin = int(ends[row] - lengths[row])
            # The sentences up to `stop` end within `size` tokens of the beginning.
            stop = int(np.searchsorted(ends, begin + self.size, side="right"))
            # Without `cross` a block ends with its document.
            if not self.cross:
                next_document = int(document_bounds[np.searchsorted(document_bounds, row, side="right")])
                stop = min(stop, next_document)
            # One or more whole sentences fit.
            if stop > row:
                blocks.append((row, stop, 0, int(ends[stop - 1]) - begin))
            else:
                # A sentence that is longer than a block.
                stop = row + 1
                length = int(lengths[row])
                # Its pieces are blocks of their own: the sentence after it begins a new block.
                for skipped in range(0, length, self.size):
                    blocks.append((row, stop, skipped, min(self.size, length - skipped)))
            row = stop
        # A block of one token is a separator alone, from which nothing can be learned.
        return np.array([block for block in blocks if block[3] > 1], np.int64).reshape(-1, 4)
