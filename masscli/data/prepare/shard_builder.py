"""Where encoded chunks are taken in, in order, and appended to columns; at any moment it can say how to go on from there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from masscli.core.files import flush_to_disk
from masscli.data.prepare.encoding import Result
from masscli.data.prepare.inputs import Part
from masscli.data.prepare.resume_state import Journal, add
from masscli.data.storage.column_writer import ColumnWriter, ResumeError
from masscli.data.storage.manifest import FilterStats
from masscli.text.vocabulary import Vocabulary

LEDGER = "dropped.tsv"
_HEAD = b"part\tline\treason\tfile\n"
TWO_BYTES = 1 << 16
_DTYPES = {"text": "|u1", "int": "<i8"}


def id_type(vocab: Vocabulary) -> str:
    """The smallest type that holds every id."""
    return "<u2" if vocab.size <= TWO_BYTES else "<u4"


class Desk:
    """Writers of the columns of one part at a time, the accounts, and the ledger of dropped lines."""

    def __init__(
        self, folder: Path, parts: Sequence[Part], vocab: Vocabulary, shard_bytes: int, journal: Journal
    ) -> None:
        self._folder, self._parts, self._fingerprint, self._limit = (
            folder,
            parts,
            vocab.fingerprint,
            shard_bytes,
        )
        self.dtype = id_type(vocab)
        self._key, self._part, self._chunks, self._broken = (
            journal.key,
            journal.part,
            journal.chunks,
            journal.broken,
        )
        self._accounts: dict[str, FilterStats] = {account.group: account for account in journal.accounts}
        self._states = dict(journal.writers)
        self._writers: dict[str, ColumnWriter] = {}
        self._ledger = open(folder / LEDGER, "ab")  # noqa: SIM115  (closed on leaving)
        self._ledger_size = journal.ledger

    def __enter__(self) -> Desk:
        with ExitStack() as stack:
            stack.callback(self._let_go)
            if self._ledger.tell() < self._ledger_size:
                raise ResumeError(LEDGER)
            self._check_finished()
            self._ledger.truncate(self._ledger_size)
            if not self._ledger_size:
                self._ledger.write(_HEAD)
            self._open()
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()

    def take(self, result: Result) -> None:
        """The next chunk."""
        if result.part.name != self._parts[self._part].name:
            self._end_part()
            self._part, self._chunks, self._broken = self._part + 1, 0, False
            self._open()
        part = result.part
        before = {name: writer.rows for name, writer in self._writers.items()}
        starts = self._document_starts(result, before[part.column(0)])
        for pair in part.pairs:
            for side in pair:
                if (rows := result.columns.get(part.rows_column(pair, side))) is not None:
                    rows.values[:] += before[part.column(side)]  # counted within the chunk so far
        for name, rows in result.columns.items():
            self._writers[name].append(rows, starts)
        for account in result.accounts:
            self._accounts[account.group] = add(self._accounts.get(account.group), account)
        self._ledger.write(result.ledger.encode())
        self._chunks += 1

    def journal(self) -> Journal:
        """How to go on from here; all it speaks of is on disk."""
        flush_to_disk(self._ledger)
        self._states |= {name: writer.flush() for name, writer in self._writers.items()}
        return Journal(
            key=self._key, part=self._part, chunks=self._chunks, broken=self._broken, ledger=self._ledger.tell(),
            accounts=tuple(self._accounts.values()), writers=self._states,
        )  # fmt: skip

    def finish(self) -> Journal:
        """After the last chunk: complete all files."""
        self._end_part()
        self._writers = {}
        return self.journal()

    def _open(self) -> None:
        self._writers = {}
        if not self._parts:  # labelled examples alone
            return
        for name, kind in self._parts[self._part].columns().items():
            dtype, state = _DTYPES.get(kind, self.dtype), self._states.get(name)
            self._writers[name] = ColumnWriter(
                self._folder / name, kind, dtype, self._fingerprint, self._limit, state
            )

    def _check_finished(self) -> None:
        kinds = {name: kind for part in self._parts for name, kind in part.columns().items()}
        for name, state in self._states.items():
            for piece in state.finished:
                path = self._folder / f"{piece.file}.bin"
                if (
                    not path.exists()
                    or path.stat().st_size
                    != piece.values * np.dtype(_DTYPES.get(kinds[name], self.dtype)).itemsize
                ):
                    raise ResumeError(path)

    def _let_go(self) -> None:
        self._ledger.close()
        for writer in self._writers.values():
            writer.close()

    def _end_part(self) -> None:
        for name, writer in self._writers.items():
            writer.finish()
            self._states[name] = writer.state

    def _document_starts(self, result: Result, before: int) -> list[int]:
        """RowBlock of this chunk that start a document: the first row of all, and whatever follows a blank line, be it in the chunk before."""
        rows = len(result.columns[result.part.column(0)].lengths)
        first = rows > 0 and (before == 0 or self._broken)
        starts = {row for row in result.document_breaks if row < rows} | ({0} if first else set())
        self._broken = rows in result.document_breaks or (self._broken and not rows)
        return sorted(starts)
