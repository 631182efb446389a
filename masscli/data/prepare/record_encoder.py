"""Turn labeled examples into the columns of a table, on disk or in memory.

The names and contents of the columns are described in `masscli.data.storage.tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.record import Record
from masscli.data.formats.registry import input_files, read_records
from masscli.data.storage.case_insensitive import CaseInsensitiveMapping
from masscli.data.storage.columns import RowBlock, TextColumn, number_rows, text_rows
from masscli.data.storage.tables import (
    INPUT_SPLIT,
    LINE_COLUMN,
    MemoryColumn,
    Table,
    derived_suffix,
)
from masscli.text.char_offsets import encode_with_offsets
from masscli.text.corpus import display_path
from masscli.text.tokenizer import Tokenizer

BLOCK = 4096
"""The number of records that are encoded together."""


@dataclass
class RecordEncoder:
    """Encodes the records of one file in `format`, whose text is in `language`, block by block."""

    tokenizer: Tokenizer
    language: str
    format: str
    kinds: dict[str, str] = field(default_factory=dict)
    """The kind of every column met so far, by its name; a kind is a key of `shards.DTYPES_OF_KIND`."""
    _last_shared: dict[str, tuple[str, int]] = field(default_factory=dict)
    """The last text of each shared field, and the row of its columns at which it is stored."""

    def blocks(
        self, records: Iterable[Record]
    ) -> Iterator[tuple[int, dict[str, RowBlock]]]:
        """Yield the number of records in each block, and the rows that they add to each column, by its name.

        A block has BLOCK records or, at the end, fewer.
        """
        remaining = iter(records)
        while block := list(islice(remaining, BLOCK)):
            columns = {LINE_COLUMN: number_rows([[record.line] for record in block])}
            # All records have the fields of the first one.
            first = block[0]
            for name in first.texts:
                self._add_text(columns, name, [record.texts[name] for record in block])
            # The items of all lists follow each other; `items` says how many belong to each record.
            for name in first.lists:
                self._add_list(columns, name, [record.lists[name] for record in block])
            for name in first.numbers:
                columns[name] = number_rows([record.numbers[name] for record in block])
            for name in first.shared:
                self._add_shared(
                    columns, name, [record.shared[name] for record in block]
                )
            for name, rows in columns.items():
                self.kinds[name] = _kind(name, rows)
            yield len(block), columns

    def _add_text(
        self, columns: dict[str, RowBlock], name: str, texts: Sequence[str]
    ) -> None:
        """Add the column `name` with texts, and NAME.ids with their token ids, to `columns`, in place."""
        columns[name] = text_rows(texts)
        columns[f"{name}.ids"] = RowBlock(
            *self.tokenizer.encode_flat(texts, self.language)
        )

    def _add_list(
        self, columns: dict[str, RowBlock], name: str, lists: Sequence[Sequence[str]]
    ) -> None:
        """Add the columns of a list field to `columns`, in place; `lists` has the items of each record."""
        items: list[str] = []
        for record_items in lists:
            items += record_items
        columns[f"{name}.items"] = number_rows([[len(items)] for items in lists])
        if self.format != "conll":
            self._add_text(columns, name, items)
            return
        # Here the items are the words of one text, and byte-level BPE has other pieces after a space.
        ids = []
        for words in lists:
            ids += self.tokenizer.encode_words(words, self.language)
        columns[name] = text_rows(items)
        columns[f"{name}.ids"] = number_rows(ids)

    def _add_shared(
        self, columns: dict[str, RowBlock], name: str, texts: Sequence[str]
    ) -> None:
        """Add the columns of a shared field to `columns`, in place; `texts` has one text for each record.

        A text is stored once for all successive records that have it.
        """
        # Only successive examples are compared: questions of a paragraph follow each other in the file.
        new_texts = []
        rows = []
        last_text, row = self._last_shared.get(name, ("", -1))
        for text in texts:
            if row < 0 or text != last_text:
                last_text = text
                row += 1
                new_texts.append(text)
            rows.append([row])
        # The next block may continue with the same text, which must not be stored again.
        self._last_shared[name] = last_text, row
        token_ids, begins, ends = [], [], []
        for text in new_texts:
            ids, begin, end = encode_with_offsets(self.tokenizer, text, self.language)
            token_ids.append(ids)
            begins.append(begin)
            ends.append(end)
        columns[name] = text_rows(new_texts)
        columns[f"{name}.ids"] = number_rows(token_ids)
        columns[f"{name}.begin"] = number_rows(begins)
        columns[f"{name}.end"] = number_rows(ends)
        columns[f"{name}.at"] = number_rows(rows)


def load_table(
    path: Path,
    format: str,
    tokenizer: Tokenizer,
    language: str,
    bad_rows: BadRows | None = None,
) -> Table:
    """Read a file of examples, encode it, and return it as a table in memory.

    `format` is a key of `FORMATS`, and `language` that of the text. What becomes of rows that cannot be read
    is up to `bad_rows`, in which other lines are counted; without it they raise MasscliError.
    """
    records = read_records(path, format, bad_rows)
    return table_of_records(
        records, table_path(path, format), format, tokenizer, language
    )


def table_of_records(
    records: Iterable[Record],
    path: str,
    format: str,
    tokenizer: Tokenizer,
    language: str,
) -> Table:
    """Encode records, and return them as a table in memory.

    `path` is the name under which messages about the examples show their file.
    """
    encoder = RecordEncoder(tokenizer, language, format)
    blocks: dict[str, list[RowBlock]] = {}
    count = 0
    for block_size, columns in encoder.blocks(records):
        count += block_size
        for name, block in columns.items():
            blocks.setdefault(name, []).append(block)
    memory_columns: dict[str, TextColumn] = {
        name: _join(parts) for name, parts in blocks.items()
    }
    return Table(
        name="input",
        split=INPUT_SPLIT,
        format=format,
        language=language,
        path=path,
        columns=CaseInsensitiveMapping(memory_columns),
        rows=count,
    )


def table_path(path: Path, format: str) -> str:
    """Return the name under which messages about an example show its file.

    For RACE it may be a folder, and for SOURCE:TARGET it is the source.
    """
    if format == "aligned":
        return display_path(input_files(path, format)[0])
    return display_path(path)


def _kind(column: str, rows: RowBlock) -> str:
    """Return the kind of a column (ids, text or int), by its name and the type of its values."""
    suffix = derived_suffix(column)
    # All derived columns but the token ids are whole numbers.
    if suffix == "ids":
        return "ids"
    if not suffix and rows.values.dtype == np.uint8:
        return "text"
    return "int"


def _join(blocks: Sequence[RowBlock]) -> MemoryColumn:
    values = np.concatenate([block.values for block in blocks])
    lengths = np.concatenate([[0], *(block.lengths for block in blocks)])
    return MemoryColumn(values, np.cumsum(lengths, dtype=np.int64))
