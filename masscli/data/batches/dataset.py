"""Views: what an example is, between shards and sampler.

A view has a length, sizes (for batching) and examples; the sampler orders its entries and never looks inside.  Sentences, pairs and
windows are here; each is an index over columns that are mapped into memory, nothing is read before it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Batch, Ids


class Example(NamedTuple):
    """One entry of a view: its number, and its fields (one for sentences, two for pairs)."""

    number: int
    fields: tuple[NDArray[Any], ...]


class RaggedColumn(Protocol):
    """A column of id sequences, such as `masscli.data.storage.data_folder.Column`."""

    def __len__(self) -> int: ...
    def lengths(self, start: int = 0, stop: int | None = None) -> NDArray[np.int32]: ...
    def __getitem__(self, row: int) -> Ids: ...


class Dataset(Protocol):
    """Examples by number."""

    def __len__(self) -> int: ...
    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """(stop - start, sides): the length of each side, in tokens that a stack will read."""
        ...

    def __getitem__(self, row: int) -> Example: ...


class Collator(Protocol):
    """Examples to a batch.  Picklable and free of parameters, since it runs in the loader's processes; `rngs` are the examples' own."""

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch: ...


class LineDataset:
    """Rows of one column (sentences) or of several aligned ones (pairs)."""

    def __init__(self, columns: Sequence[RaggedColumn], limit: int | None = None) -> None:
        self.columns = columns
        self._rows = len(columns[0]) if limit is None else min(limit, len(columns[0]))

    def __len__(self) -> int:
        return self._rows

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Lengths with the two symbols that a frame may add."""
        return np.stack([c.lengths(start, stop).astype(np.int64) + 2 for c in self.columns], 1)

    def __getitem__(self, row: int) -> Example:
        return Example(row, tuple(c[row] for c in self.columns))


class TokenBlockDataset:
    """Running text cut into windows of `size` tokens, across lines, each line closed by `eos` (fairseq's break mode `none`)."""

    def __init__(self, column: RaggedColumn, size: int, eos: int, limit: int | None = None) -> None:
        self.column, self.size, self.eos = column, size, eos
        rows = len(column) if limit is None else min(limit, len(column))
        self.ends = np.cumsum(column.lengths(0, rows).astype(np.int64) + 1)
        self._total = int(self.ends[-1]) if rows else 0

    def __len__(self) -> int:
        return -(-self._total // self.size)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """All full but the last."""
        begins = np.arange(start, stop) * self.size
        return (np.minimum(self._total - begins, self.size) + 2)[:, None]

    def __getitem__(self, row: int) -> Example:
        begin, end = row * self.size, min((row + 1) * self.size, self._total)
        first, last = np.searchsorted(self.ends, [begin, end - 1], side="right")
        text = np.concatenate(
            [part for i in range(first, last + 1) for part in (self.column[int(i)], [self.eos])]
        )
        skipped = begin - (int(self.ends[first - 1]) if first else 0)
        return Example(row, (text[skipped : skipped + end - begin],))
