"""Datasets: the interface through which the sampler and the loader see examples, and datasets of plain text.

A dataset has a length, sizes (for batching) and examples, which are found by number. The sampler orders
these numbers only by the sizes. Datasets index memory-mapped columns, so that text is read from disk
only when an example is requested. Objectives define further datasets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Batch
from masscli.data.storage.columns import RaggedColumn

SPECIAL_TOKENS = 2
"""The number of special tokens that is counted for every line, whatever the model: one before it, one after
it."""
STRETCH = 256
"""The position in running text is kept in memory for every line whose number is a multiple of this."""
READ_LINES = STRETCH << 12
"""The number of lines whose lengths are read at a time."""


class Example(NamedTuple):
    """One entry of a dataset: its number, and its fields, one array for each side.

    A sentence has one field and a pair has two; other datasets define their own.
    """

    number: int
    fields: tuple[NDArray[Any], ...]


class Dataset(Protocol):
    """The interface of a dataset: examples that are found by their number."""

    def __len__(self) -> int: ...
    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the sizes of examples `start` to `stop` - 1, for the batch sampler: (stop - start, sides).

        A size is the number of tokens of one side, such as source or target, with all special tokens.
        """
        ...

    def __getitem__(self, number: int) -> Example: ...


class Collator(Protocol):
    """The interface of a collator, which makes a batch of examples.

    It runs in the loader's worker processes, so it must be picklable and must not hold model parameters.
    `rngs` has one random generator for each example.
    """

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch: ...


class LineDataset:
    """The first `limit` rows (None: all) of one column (sentences) or of several aligned ones (pairs).

    `extra_tokens` is the number of special tokens that a line may get besides SPECIAL_TOKENS.
    """

    def __init__(
        self,
        columns: Sequence[RaggedColumn],
        limit: int | None = None,
        extra_tokens: int = 0,
    ) -> None:
        self.columns = columns
        self.extra_tokens = extra_tokens
        self._rows = limited(len(columns[0]), limit)

    def __len__(self) -> int:
        return self._rows

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the length of each side, special tokens included (at most): (stop - start, sides)."""
        lengths = [
            column.lengths(start, stop).astype(np.int64) for column in self.columns
        ]
        return np.stack(lengths, 1) + SPECIAL_TOKENS + self.extra_tokens

    def __getitem__(self, number: int) -> Example:
        return Example(number, tuple(column[number] for column in self.columns))


class TokenBlockDataset:
    """Running text cut into blocks of `size` tokens, regardless of line ends, with `eos` after each line.

    This is fairseq's break mode `none`. Only the last block may be shorter. `limit` is the number of lines
    used, from the first; None uses all.
    """

    def __init__(
        self, column: RaggedColumn, size: int, eos: int, limit: int | None = None
    ) -> None:
        self.column = column
        self.size = size
        self.eos = eos
        rows = limited(len(column), limit)
        self._rows = rows
        # Where the lines 0, STRETCH, 2 * STRETCH, ... begin in the running text, and finally where it ends.
        # The lines between are found when a block is read, so that memory hardly grows with the text.
        sums = [np.zeros(1, np.int64)]
        for start in range(0, rows, READ_LINES):
            lengths = self._lengths_with_end(start, min(rows, start + READ_LINES))
            sums.append(np.add.reduceat(lengths, np.arange(0, len(lengths), STRETCH)))
        self._stretch_begins = np.cumsum(np.concatenate(sums))
        self._total = int(self._stretch_begins[-1])

    def __len__(self) -> int:
        # Rounded up: the last block may be shorter.
        return -(-self._total // self.size)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the length of each block plus 2, the largest number of special tokens: (stop - start, 1)."""
        begins = np.arange(start, stop) * self.size
        return (np.minimum(self._total - begins, self.size) + SPECIAL_TOKENS)[:, None]

    def __getitem__(self, number: int) -> Example:
        begin = number * self.size
        end = min(begin + self.size, self._total)
        # The stretches in which the block begins and ends, and where their lines end in the running text.
        first, last = (
            np.searchsorted(self._stretch_begins, [begin, end - 1], side="right") - 1
        ).tolist()
        lengths = self._lengths_with_end(
            first * STRETCH, min(self._rows, (last + 1) * STRETCH)
        )
        ends = np.cumsum(lengths) + self._stretch_begins[first]
        # The lines in which the block begins and ends, counted within the stretches.
        first_line, last_line = np.searchsorted(
            ends, [begin, end - 1], side="right"
        ).tolist()
        parts: list[Any] = []
        for line in range(first_line, last_line + 1):
            parts += [self.column[first * STRETCH + line], [self.eos]]
        text = np.concatenate(parts)
        # The first line may have begun in the block before.
        skipped = begin - int(ends[first_line] - lengths[first_line])
        return Example(number, (text[skipped : skipped + end - begin],))

    def _lengths_with_end(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the numbers of tokens of the lines `start` to `stop` - 1, with the end symbol of each."""
        return self.column.lengths(start, stop).astype(np.int64) + 1


def limited(rows: int, limit: int | None) -> int:
    """Return how many of a number of rows are used with this limit; None sets no limit."""
    if limit is None:
        return rows
    return min(limit, rows)
