"""Columns of rows of different lengths: rows of token ids, of bytes of text, or of numbers.

A `Column` is a sequence of rows over any number of memory-mapped shard files, and is never loaded as a
whole. Its users determine what the rows mean.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.data.storage.shards import Shard

COUNT_BLOCK = 1 << 24
"""Number of values that `count_pieces` reads at a time."""
COUNT_ROWS = 1 << 12
"""Number of rows of a selection that `count_pieces` reads at a time."""


class RaggedColumn(Protocol):
    """The interface of a column whose rows are arrays of whole numbers, such as a `Column`."""

    def __len__(self) -> int: ...
    def __getitem__(self, row: int) -> NDArray[np.int64]: ...
    def lengths(self, start: int = 0, stop: int | None = None) -> NDArray[np.int32]:
        """Return the number of values of each row from `start` to `stop` - 1; by default of all rows."""
        ...


class TextColumn(RaggedColumn, Protocol):
    """The interface of a column whose rows may also be read as UTF-8 text."""

    def text(self, row: int) -> str:
        """Return a row of UTF-8 bytes as text."""
        ...


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Successive rows of a column: their values, one row after another, and the length of each row."""

    values: NDArray[Any]
    lengths: NDArray[np.int32]


@dataclass(frozen=True)
class Column:
    """The rows of several shards, one after another.

    If `selected` row numbers are given, the column consists of only those rows, in that order.
    """

    shards: tuple[Shard, ...]
    selected: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        if self.selected is not None:
            return len(self.selected)
        return self._boundaries[-1]

    def __getitem__(self, row: int) -> NDArray[np.int64]:
        """Return a copy of the token ids (or whole numbers) of a row."""
        return self.values(row).astype(np.int64)

    def values(self, row: int) -> NDArray[Any]:
        """Return the values of a row in their stored type, as a view of the mapped file.

        A negative `row` counts from the end. Raises IndexError if there is no such row, and MasscliError if
        its offsets are damaged, or if it, or the block of values around it, has a token id beyond the
        vocabulary.
        """
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        row = row % len(self)
        # Convert the row to a number over all shards, and then to one within its shard.
        if self.selected is not None:
            row = int(self.selected[row])
        number = bisect_right(self._boundaries, row) - 1
        shard = self.shards[number]
        row -= self._boundaries[number]
        start, stop = shard.span(row)
        # A damaged file may have ids beyond the table of embeddings, which would cause a crash much
        # later.
        shard.check_ids(start, stop)
        return shard.values[start:stop]

    def text(self, row: int) -> str:
        """Return a row of a text column. Raises MasscliError if it is not UTF-8."""
        try:
            return self.values(row).tobytes().decode("utf-8")
        except UnicodeDecodeError:
            name = self.shards[0].stem.name.rpartition(".")[0]
            folder = self.shards[0].stem.parent
            raise MasscliError(
                f"{folder}: is damaged (row {row} of {name} is not UTF-8)",
                "run masscli preprocess again",
            ) from None

    def lengths(self, start: int = 0, stop: int | None = None) -> NDArray[np.int32]:
        """Return the number of values of each row from `start` to `stop` - 1; by default of all rows.

        Only the index files are read.
        """
        start, stop, _ = slice(start, stop).indices(len(self))
        if self.selected is not None:
            return self._lengths_of(self.selected[start:stop])
        # The empty array makes the result well-defined if no shard has any of the rows.
        lengths = [np.zeros(0, np.int32)]
        for shard, first_row in zip(self.shards, self._boundaries, strict=False):
            low = max(start - first_row, 0)
            high = min(stop - first_row, shard.rows)
            if low < high:
                lengths.append(shard.lengths(low, high))
        return np.concatenate(lengths)

    def select(self, rows: NDArray[np.int64]) -> Column:
        """Return a column of the given `rows` of this one, in the order given."""
        if self.selected is not None:
            rows = self.selected[rows]
        return Column(self.shards, rows)

    @property
    def document_starts(self) -> NDArray[np.int64]:
        """Sorted numbers of the rows at which a document starts.

        Row 0 of a selection is its only start. An empty column has none.
        """
        if self.selected is not None or not len(self):
            return np.zeros(min(1, len(self)), np.int64)
        starts = []
        for shard, first_row in zip(self.shards, self._boundaries, strict=False):
            starts.append(shard.document_starts + first_row)
        return np.concatenate(starts)

    @functools.cached_property
    def _boundaries(self) -> list[int]:
        """[0, r0, r0 + r1, ...]: the first row of each shard, and finally the number of all rows."""
        rows = [shard.rows for shard in self.shards]
        return list(accumulate(rows, initial=0))

    def _lengths_of(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the number of values of each of the given rows (N,), which are counted over all shards.

        Raises MasscliError if their offsets are damaged.
        """
        lengths = np.zeros(len(rows), np.int32)
        # Look up the rows of each shard at once: a selection may have millions of rows.
        shard_numbers = np.searchsorted(np.array(self._boundaries), rows, "right") - 1
        for number in np.unique(shard_numbers):
            # In a selection the rows of one shard need not follow each other.
            in_shard = shard_numbers == number
            local_rows = rows[in_shard] - self._boundaries[number]
            offsets = self.shards[number].offsets
            starts = offsets[local_rows]
            stops = offsets[local_rows + 1]
            self.shards[number].check_order(starts, stops)
            lengths[in_shard] = stops - starts
        return lengths


def concatenate(columns: Sequence[Column]) -> Column:
    """Return one column with the rows of several columns, one column after another.

    Raises ValueError if one of them is a selection of rows.
    """
    if any(column.selected is not None for column in columns):
        # The shards do not record a selection, so the result would contain all rows.
        raise ValueError("columns with selected rows cannot be concatenated")
    shards: list[Shard] = []
    for column in columns:
        shards += column.shards
    return Column(tuple(shards))


def flat_values(column: Column) -> NDArray[np.int64]:
    """Return all values of a column of whole numbers as one array, row after row.

    `column` must not be a selection of rows: the result would contain the values of all rows.
    """
    values = [np.zeros(0, np.int64)]
    for shard in column.shards:
        values.append(np.asarray(shard.values, np.int64))
    return np.concatenate(values)


def count_pieces(column: Column, size: int) -> NDArray[np.int64]:
    """Return how often each token id from 0 to `size` - 1 occurs in a column, as an array (size,).

    The column is read in blocks, so that a corpus larger than memory can be counted. Raises MasscliError if
    it has an id beyond the vocabulary.
    """
    counts = np.zeros(size, np.int64)
    # A selection skips rows, so that shards cannot be counted as a whole.
    if column.selected is not None:
        for start in range(0, len(column), COUNT_ROWS):
            rows = range(start, min(start + COUNT_ROWS, len(column)))
            counts += np.bincount(
                np.concatenate([column[row] for row in rows]), minlength=size
            )
        return counts
    for shard in column.shards:
        for start in range(0, len(shard.values), COUNT_BLOCK):
            block = shard.values[start : start + COUNT_BLOCK]
            shard.check_ids(start, start + len(block))
            counts += np.bincount(block, minlength=size)
    return counts


def text_rows(texts: Sequence[str]) -> RowBlock:
    """Return a block with one row for each text, whose values are the bytes of the text in UTF-8."""
    encoded = [text.encode() for text in texts]
    lengths = np.fromiter(map(len, encoded), np.int32, len(encoded))
    return RowBlock(np.frombuffer(b"".join(encoded), np.uint8), lengths)


def number_rows(rows: Sequence[Sequence[int]]) -> RowBlock:
    """Return a block with one row of int64 values for each sequence of whole numbers."""
    lengths = np.fromiter(map(len, rows), np.int32, len(rows))
    # One pass without a list of all numbers, of which a block may have millions.
    values = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
    return RowBlock(values, lengths)
