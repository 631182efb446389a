"""Append encoded chunks, in order, to the columns of a data folder, so that a killed run can be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from masscli.core.appended_files import open_for_appending
from masscli.core.atomic_files import flush_to_disk
from masscli.data.prepare.encoding import EncodedChunk
from masscli.data.prepare.resume_state import ResumeState, add_stats
from masscli.data.prepare.text_groups import TextGroup
from masscli.data.storage.column_writer import ColumnWriter, ResumeError
from masscli.data.storage.shards import HEADER, dtype_of
from masscli.text.vocabulary import Vocabulary

DROPPED_FILE = "dropped.tsv"
"""The name of the log of dropped lines."""
_DROPPED_HEADER = b"group\tline\treason\tfile\n"
MAX_TWO_BYTE_VOCABULARY = 1 << 16
"""Maximum size of a vocabulary whose ids fit into two bytes."""


def smallest_ids_dtype(vocab: Vocabulary) -> str:
    """Return the smaller of the numpy types `<u2` and `<u4` that holds every id of the vocabulary."""
    if vocab.size <= MAX_TWO_BYTE_VOCABULARY:
        return "<u2"
    return "<u4"


class ShardBuilder:
    """Writes encoded chunks to the columns of their group, adds up statistics, and logs dropped lines.

    It starts from a `ResumeState`, and is used as a context manager. Entering it raises ResumeError if files
    on disk are missing, or do not have the sizes that the state implies.
    """

    def __init__(
        self,
        folder: Path,
        groups: Sequence[TextGroup],
        vocab: Vocabulary,
        max_shard_bytes: int,
        state: ResumeState,
    ) -> None:
        self.ids_dtype = smallest_ids_dtype(vocab)
        self._folder = folder
        self._groups = groups
        self._fingerprint = vocab.fingerprint
        self._max_shard_bytes = max_shard_bytes
        self._key = state.key
        self._group = state.group
        self._chunks = state.chunks
        self._ends_document = state.ends_document
        self._filter_stats = {stats.group: stats for stats in state.filter_stats}
        self._writer_states = dict(state.writers)
        self._writers: dict[str, ColumnWriter] = {}
        # The log stays open until the context ends.
        self._dropped = open_for_appending(folder / DROPPED_FILE)
        self._dropped_bytes = state.dropped_bytes

    def __enter__(self) -> ShardBuilder:
        with ExitStack() as stack:
            stack.callback(self._close)
            if self._dropped.tell() < self._dropped_bytes:
                raise ResumeError(DROPPED_FILE)
            self._check_finished_shards()
            self._dropped.truncate(self._dropped_bytes)
            # A new log begins with a header.
            if not self._dropped_bytes:
                self._dropped.write(_DROPPED_HEADER)
            self._open_writers()
            # On success, the files stay open until `__exit__`.
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def add(self, chunk: EncodedChunk) -> None:
        """Append an encoded chunk to the columns, to the statistics and to the log of dropped lines.

        Chunks must come in order. The row numbers in the chunk are changed in place: they count from the
        first row of the column then.
        """
        group = chunk.group
        # Chunks come in order, so that another group means that the last one is complete.
        if group.name != self._groups[self._group].name:
            self._finish_group()
            self._group += 1
            self._chunks = 0
            self._ends_document = False
            self._open_writers()
        rows_before = {name: writer.rows for name, writer in self._writers.items()}
        # A document starts at the same rows in every column of the group.
        starts = self._document_starts(chunk, rows_before[group.column(0)])
        for pair in group.pairs:
            for side in pair:
                row_numbers = chunk.columns.get(group.rows_column(pair, side))
                # In the chunk they are counted from its first row.
                if row_numbers is not None:
                    row_numbers.values[:] += rows_before[group.column(side)]
        for name, rows in chunk.columns.items():
            self._writers[name].append(rows, starts)
        for stats in chunk.filter_stats:
            self._filter_stats[stats.group] = add_stats(
                self._filter_stats.get(stats.group), stats
            )
        self._dropped.write(chunk.dropped_lines.encode())
        self._chunks += 1

    def state(self) -> ResumeState:
        """Flush all files to disk, and return the state from which a run can be resumed."""
        flush_to_disk(self._dropped)
        for name, writer in self._writers.items():
            self._writer_states[name] = writer.flush()
        return ResumeState(
            key=self._key,
            group=self._group,
            chunks=self._chunks,
            ends_document=self._ends_document,
            dropped_bytes=self._dropped.tell(),
            filter_stats=tuple(self._filter_stats.values()),
            writers=self._writer_states,
        )

    def finish(self) -> ResumeState:
        """Complete the shards of the last group, and return the final state."""
        self._finish_group()
        self._writers = {}
        return self.state()

    def _open_writers(self) -> None:
        """Open a writer for each column of the current group, which continues from its stored state."""
        self._writers = {}
        # A folder with only labeled examples has no group.
        if not self._groups:
            return
        for name, kind in self._groups[self._group].column_kinds().items():
            self._writers[name] = ColumnWriter(
                self._folder / name,
                kind,
                dtype_of(kind, self.ids_dtype),
                self._fingerprint,
                self._max_shard_bytes,
                self._writer_states.get(name),
            )

    def _check_finished_shards(self) -> None:
        """Raise ResumeError if a file of a finished shard is missing, or does not have the size it must have.

        The state says how many values and rows a shard has. For the index (.idx), which also has the
        starts of documents, only the minimum size is known.
        """
        kinds: dict[str, str] = {}
        for group in self._groups:
            kinds |= group.column_kinds()
        # The writer checks the shard that it continues, but not the earlier ones.
        for name, state in self._writer_states.items():
            item_size = np.dtype(dtype_of(kinds[name], self.ids_dtype)).itemsize
            for shard in state.finished:
                path = self._folder / f"{shard.file}.bin"
                if not path.exists() or path.stat().st_size != shard.values * item_size:
                    raise ResumeError(path)
                path = self._folder / f"{shard.file}.idx"
                least = HEADER.size + 8 * (shard.rows + 1)
                if not path.exists() or path.stat().st_size < least:
                    raise ResumeError(path)

    def _close(self) -> None:
        self._dropped.close()
        for writer in self._writers.values():
            writer.close()

    def _finish_group(self) -> None:
        for name, writer in self._writers.items():
            writer.finish()
            self._writer_states[name] = writer.state

    def _document_starts(self, chunk: EncodedChunk, rows_before: int) -> list[int]:
        """Return the rows of a chunk, counted from its first one, that start a document.

        These are the first row of the column, and every row after a blank line, which may be in an earlier
        chunk. `rows_before` is the number of rows of the column before this chunk. It also records whether
        this chunk ends a document.
        """
        rows = len(chunk.columns[chunk.group.column(0)].lengths)
        starts = {row for row in chunk.document_breaks if row < rows}
        if rows > 0 and (rows_before == 0 or self._ends_document):
            starts.add(0)
        # A chunk without rows leaves it as it was, unless it consists of blank lines.
        ends_document = rows in chunk.document_breaks
        self._ends_document = ends_document or (self._ends_document and rows == 0)
        return sorted(starts)
