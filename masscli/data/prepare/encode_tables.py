"""Write tables of labeled examples into a data folder.

A resumed run writes all tables again from the start, since labeled data are small compared with text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.registry import read_records
from masscli.data.prepare.record_encoder import RecordEncoder, table_path
from masscli.data.prepare.requested_inputs import LabeledFile
from masscli.data.storage.column_writer import ColumnWriter, FinishedShard
from masscli.data.storage.columns import RowBlock
from masscli.data.storage.manifest import (
    ColumnEntry,
    FieldEntry,
    ShardEntry,
    TableEntry,
)
from masscli.data.storage.shards import dtype_of
from masscli.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class EncodedTable:
    """The manifest entries of a table that was written, and of its columns."""

    table: TableEntry
    columns: tuple[ColumnEntry, ...]


def encode_table(
    labeled: LabeledFile,
    language: str,
    tokenizer: Tokenizer,
    folder: Path,
    ids_dtype: str,
    max_bytes: int,
    bad_rows: BadRows,
) -> EncodedTable:
    """Encode one labeled file, write its columns into `folder`, and return its manifest entries.

    `language` is the language of its text, `ids_dtype` the numpy type of token ids, and `max_bytes` the size
    of the largest shard. Rows that are skipped are added to `bad_rows`. Raises MasscliError if the file or a
    row cannot be read, as `read_records` does.
    """
    encoder = RecordEncoder(tokenizer, language, labeled.format)
    stem = f"{labeled.split}.{labeled.table}"
    # A run that was killed may have left files behind.
    for path in folder.glob(f"{stem}.field*"):
        path.unlink()

    def open_writer(name: str, number: int) -> ColumnWriter:
        kind = encoder.kinds[name]
        return ColumnWriter(
            folder / f"{stem}.field{number}",
            kind,
            dtype_of(kind, ids_dtype),
            tokenizer.vocab.fingerprint,
            max_bytes,
        )

    records = read_records(labeled.path, labeled.format, bad_rows)
    shards, count = _write_columns(encoder.blocks(records), open_writer)
    column_entries = []
    fields = []
    for number, (name, shards_of_column) in enumerate(shards.items()):
        column = f"{stem}.field{number}"
        entries = [
            ShardEntry(name=shard.file, rows=shard.rows, values=shard.values)
            for shard in shards_of_column
        ]
        column_entries.append(
            ColumnEntry(name=column, kind=encoder.kinds[name], shards=tuple(entries))
        )
        fields.append(FieldEntry(name=name, column=column))
    table = TableEntry(
        name=labeled.table,
        split=labeled.split,
        format=labeled.format,
        language=language,
        path=table_path(labeled.path, labeled.format),
        rows=count,
        bad_rows=len(bad_rows.skipped) or None,
        fields=tuple(fields),
    )
    return EncodedTable(table, tuple(column_entries))


def _write_columns(
    blocks: Iterable[tuple[int, dict[str, RowBlock]]],
    open_writer: Callable[[str, int], ColumnWriter],
) -> tuple[dict[str, tuple[FinishedShard, ...]], int]:
    """Write blocks of records, each with its number of records and their columns by name.

    `open_writer` takes the name and the number of a column. Returns the shards of each column, and the number
    of records.
    """
    writers: dict[str, ColumnWriter] = {}
    count = 0
    try:
        for size, columns in blocks:
            for name, rows in columns.items():
                # Which columns there are is known from the first records on.
                if name not in writers:
                    writers[name] = open_writer(name, len(writers))
                # A table is one document, which starts at its first row.
                document_starts = []
                if count == 0 and len(rows.lengths) > 0:
                    document_starts = [0]
                writers[name].append(rows, document_starts)
            count += size
        return {name: writer.finish() for name, writer in writers.items()}, count
    finally:
        # A broken row in the middle of a file must not leave files open.
        for writer in writers.values():
            writer.close()
