"""Write a column of a data folder, shard by shard, so that a killed run can continue where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from masscli.core.appended_files import open_for_appending
from masscli.core.atomic_files import flush_to_disk
from masscli.core.config import config
from masscli.data.storage.columns import RowBlock
from masscli.data.storage.shards import FORMAT, HEADER, MAGIC

MAX_ROWS = 1 << 24
"""Maximum number of rows in a shard."""


@config
class FinishedShard:
    """A shard that is complete: the name of its files without suffix, and its numbers of rows and values."""

    file: str
    rows: int
    values: int


@config
class WriterState:
    """The point that a writer has reached: its finished shards, and the contents of the shard it is writing.

    `rows`, `values` and `documents` count those of the unfinished shard only.
    """

    finished: tuple[FinishedShard, ...] = ()
    rows: int = 0
    values: int = 0
    documents: int = 0


class ResumeError(Exception):
    """A file of an interrupted run is missing or damaged, so that the run cannot be resumed."""


class ColumnWriter:
    """Appends rows to a column, and can continue from an earlier `state`.

    `stem` is the path of the column without the number of a shard: its files are STEM.00000.bin and so on.
    `kind` and `dtype` are a key of `shards.DTYPES_OF_KIND` and one of its types, and `fingerprint` is that of
    the vocabulary, in hexadecimal. Raises ResumeError if a file is missing or shorter than `state` says.

    A shard ends before the row that would make its values larger than `max_bytes`, or its rows more than
    MAX_ROWS; a row that is larger than `max_bytes` has a shard of its own. How the rows are divided among
    calls of `append` does not matter: the files depend only on the rows. Row lengths and document starts of
    a shard are kept in files .len and .doc, which stay when it is finished, so that the writer can return to
    any earlier state.
    """

    def __init__(
        self,
        stem: Path,
        kind: str,
        dtype: str,
        fingerprint: str,
        max_bytes: int,
        state: WriterState | None = None,
    ) -> None:
        self.kind = kind
        self.dtype = np.dtype(dtype)
        self.fingerprint = fingerprint
        self.state = state or WriterState()
        self._stem = stem
        self._max_values = max(1, max_bytes // self.dtype.itemsize)
        self._open()

    @property
    def rows(self) -> int:
        """The number of rows written so far, in all shards."""
        return sum(shard.rows for shard in self.state.finished) + self.state.rows

    def append(self, block: RowBlock, document_starts: Sequence[int] = ()) -> None:
        """Write the rows of `block` after those written so far, and begin new shards where necessary.

        `document_starts` are the indices in `block` of the rows that start a document.
        """
        lengths = block.lengths
        ends = np.cumsum(lengths, dtype=np.int64)
        row = 0
        value = 0
        while row < len(lengths):
            state = self.state
            # Take as many rows as fit into the current shard.
            end_row = int(
                np.searchsorted(ends, value + self._max_values - state.values, "right")
            )
            end_row = min(end_row, row + MAX_ROWS - state.rows)
            # Not one fits: begin the next shard.
            if end_row <= row and state.rows:
                self._close_shard()
                self._open()
                continue
            # A row that is larger than a shard gets a shard of its own.
            end_row = max(end_row, row + 1)
            end_value = int(ends[end_row - 1])
            # Document starts are stored relative to the shard.
            starts = [
                state.rows + start - row
                for start in document_starts
                if row <= start < end_row
            ]
            self._values_file.write(
                block.values[value:end_value].astype(self.dtype, copy=False).tobytes()
            )
            self._lengths_file.write(
                lengths[row:end_row].astype("<i4", copy=False).tobytes()
            )
            self._documents_file.write(np.array(starts, "<i8").tobytes())
            self.state = WriterState(
                finished=state.finished,
                rows=state.rows + end_row - row,
                values=state.values + end_value - value,
                documents=state.documents + len(starts),
            )
            row = end_row
            value = end_value

    def flush(self) -> WriterState:
        """Flush all rows written so far to disk, and return the state from which a run can be resumed."""
        for file in self._files():
            flush_to_disk(file)
        return self.state

    def finish(self) -> tuple[FinishedShard, ...]:
        """Complete the last shard, and return all shards of the column in order."""
        self._close_shard()
        return self.state.finished

    def close(self) -> None:
        """Close the open files of the current shard without completing it."""
        for file in self._files():
            file.close()

    def _files(self) -> tuple[BinaryIO, BinaryIO, BinaryIO]:
        return self._values_file, self._lengths_file, self._documents_file

    def _path(self, suffix: str) -> Path:
        """Return the path of the file of the current shard that has this suffix."""
        return self._stem.with_name(
            f"{self._stem.name}.{len(self.state.finished):05d}{suffix}"
        )

    def _open(self) -> None:
        """Open the files of the current shard, and truncate them to the sizes that the state implies.

        Raises ResumeError if one of them is missing or shorter.
        """
        # Sizes in bytes; lengths are stored as int32, document starts as int64.
        sizes = {
            ".bin": self.state.values * self.dtype.itemsize,
            ".len": self.state.rows * 4,
            ".doc": self.state.documents * 8,
        }
        for suffix, size in sizes.items():
            path = self._path(suffix)
            if size and (not path.exists() or path.stat().st_size < size):
                raise ResumeError(path)
        # The files stay open until `close`.
        self._values_file = open_for_appending(self._path(".bin"))
        self._lengths_file = open_for_appending(self._path(".len"))
        self._documents_file = open_for_appending(self._path(".doc"))
        # A killed run may have written more than the state records; those rows will be written again.
        for file, size in zip(self._files(), sizes.values(), strict=True):
            file.truncate(size)

    def _close_shard(self) -> None:
        """Close the current shard, write its index, and add it to the finished shards."""
        self.flush()
        self.close()
        state = self.state
        # The index begins with the number of rows, so that it can only be written when all rows are known.
        offsets = np.zeros(state.rows + 1, "<i8")
        np.cumsum(np.fromfile(self._path(".len"), "<i4"), out=offsets[1:])
        header = HEADER.pack(
            MAGIC,
            FORMAT,
            self.dtype.str.encode(),
            self.kind.encode(),
            state.rows,
            state.values,
            state.documents,
            bytes.fromhex(self.fingerprint),
        )
        with open(self._path(".idx"), "wb") as file:
            file.write(header)
            file.write(offsets.tobytes())
            file.write(self._path(".doc").read_bytes())
            flush_to_disk(file)
        shard = FinishedShard(
            file=self._path("").name, rows=state.rows, values=state.values
        )
        self.state = WriterState(finished=(*state.finished, shard))
