"""Labelled examples as columns: what a record becomes on disk or in memory, and how it is found again.

A text field F becomes the column F (utf-8) and F.ids; a list field the same with a row for each item, and F.items, how many there are in
each example; a shared field a row for each text that differs from the one before, F.at, which row is meant, and the place of each piece in
the text, F.begin and F.end.  Numbers are a column of their own, and so are line numbers.  The ids of a shared text and of a list's items
are those of its words, one after another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.data.batches.dataset import RaggedColumn
from masscli.data.formats.readers import ASKED, WHERE, Record, files, part, read
from masscli.data.prepare.encoding import Rows
from masscli.data.storage.case_insensitive import CaseInsensitiveMapping
from masscli.text.char_offsets import encode_with_offsets
from masscli.text.corpus import display_path
from masscli.text.tokenizer import Tokenizer

NEW = "input"
"""The split of examples that come straight from a file, to a model whose options are fixed."""
BLOCK = 4096
"""Records that are encoded together."""


class TextColumn(RaggedColumn, Protocol):
    """A column that may hold utf-8."""

    def text(self, row: int) -> str: ...


@dataclass(frozen=True)
class MemoryColumn:
    """A column in memory."""

    values: NDArray[Any]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, row: int) -> NDArray[np.int64]:
        return self.values[self.ends[row] : self.ends[row + 1]].astype(np.int64)

    def lengths(self, start: int = 0, stop: int | None = None) -> NDArray[np.int32]:
        """Values in each of some rows."""
        return np.diff(self.ends)[start:stop].astype(np.int32)

    def text(self, row: int) -> str:
        """A row of a text column."""
        return self.values[self.ends[row] : self.ends[row + 1]].tobytes().decode("utf-8")


@dataclass(frozen=True)
class Table:
    """Labelled examples of one split.  `columns` are by name (see above), upper case or lower; `rows` of them are used."""

    name: str
    split: str
    format: str
    language: str
    path: str
    columns: CaseInsensitiveMapping[TextColumn]
    rows: int

    def __len__(self) -> int:
        return self.rows

    def head(self, limit: int | None) -> Table:
        """The first so many examples."""
        return self if limit is None else replace(self, rows=min(limit, self.rows))

    def location(self, row: int) -> str:
        """The place of an example, as a user would look for it."""
        if self.format in ("squad", "race"):
            return f"{self.path}: question {self.text('id', row)!r}"
        return f"{self.path}:{int(self.columns[WHERE][row][0])}"

    def has(self, field: str) -> bool:
        """Whether there is such a field."""
        return field in self.columns

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the examples, as the file names them."""
        return tuple(
            name for name in self.columns if name != WHERE and not part(name) and not name.endswith(ASKED)
        )

    def require(self, field: str, flag: str, *, many: bool = False) -> None:
        """Complain of a field that is not there, or is no list (`many`) or is one, in the terms of the option that names it."""
        if not self.has(field):
            way = (
                f"choose with {flag}"
                if self.split != NEW
                else "the model was trained on a column of this name"
            )
            raise MasscliError(
                f"{self.path}: has no column {field!r}", f"{way}; it has {', '.join(self.fields)}"
            )
        if self.is_list(field) is not many:
            found, wanted = ("one string", "a list") if many else ("a list", "one string")
            way = (
                f"choose another with {flag}"
                if self.split != NEW
                else "give it in the form that the model was trained on"
            )
            raise MasscliError(
                f"{self.path}: {field!r} is {found} in each example, and {wanted} is needed", way
            )

    def text(self, field: str, row: int) -> str:
        """A text, or the shared text of an example."""
        return self.columns[field].text(self.shared_row(field, row))

    def ids(self, field: str) -> TextColumn:
        """The ids of a text field, a row for each example (for each item, of a list)."""
        return self.columns[f"{field}.ids"]

    def shared_row(self, field: str, row: int) -> int:
        """Which row of a shared field's columns is an example's."""
        shared = self.columns.get(f"{field}.at")
        return row if shared is None else int(shared[row][0])

    def numbers(self, field: str, row: int) -> NDArray[np.int64]:
        """The whole numbers of an example."""
        return self.columns[field][row]

    def item_rows(self, field: str, row: int) -> range:
        """Which rows of a list field's columns are an example's."""
        ends = self.item_offsets[field]
        return range(int(ends[row]), int(ends[row + 1]))

    def strings(self, field: str, row: int) -> list[str]:
        """A list of strings."""
        return [self.columns[field].text(at) for at in self.item_rows(field, row)]

    def is_list(self, field: str) -> bool:
        """Whether a field holds lists."""
        return f"{field}.items" in self.columns

    @cached_property
    def item_offsets(self) -> CaseInsensitiveMapping[NDArray[np.int64]]:
        """For each list field: where the items of each example start, and at last where they end."""
        return CaseInsensitiveMapping(
            {
                name[: -len(".items")]: _ends(column)
                for name, column in self.columns.items()
                if name.endswith(".items")
            }
        )


KIND = {"ids": "ids", "items": "int", "at": "int", "begin": "int", "end": "int"}


@dataclass
class Encoder:
    """Records to rows of columns, block by block."""

    tokenizer: Tokenizer
    language: str
    kinds: dict[str, str] = field(default_factory=dict)
    """The kind of every column met so far."""
    _last: dict[str, tuple[str, int]] = field(default_factory=dict)

    def blocks(self, records: Iterable[Record]) -> Iterator[tuple[int, dict[str, Rows]]]:
        """How many records, and the rows that they become."""
        rest = iter(records)
        while block := list(islice(rest, BLOCK)):
            columns: dict[str, Rows] = {WHERE: _numbers([[r.line] for r in block])}
            for name in block[0].texts:
                self._text(columns, name, [r.texts[name] for r in block])
            for name in block[0].lists:
                self._text(columns, name, [item for r in block for item in r.lists[name]])
                columns[f"{name}.items"] = _numbers([[len(r.lists[name])] for r in block])
            for name in block[0].numbers:
                columns[name] = _numbers([r.numbers[name] for r in block])
            for name in block[0].shared:
                self._shared(columns, name, [r.shared[name] for r in block])
            for name, rows in columns.items():
                kind = KIND.get(part(name)) or ("text" if rows.values.dtype == np.uint8 else "int")
                self.kinds[name] = kind
            yield len(block), columns

    def _text(self, columns: dict[str, Rows], name: str, texts: Sequence[str]) -> None:
        columns[name] = _utf8(texts)
        columns[f"{name}.ids"] = Rows(*self.tokenizer.encode_flat(texts, self.language))

    def _shared(self, columns: dict[str, Rows], name: str, texts: Sequence[str]) -> None:
        new, at = [], []
        text, index = self._last.get(name, ("", -1))
        for each in texts:
            if index < 0 or each != text:
                text, index = each, index + 1
                new.append(each)
            at.append([index])
        self._last[name] = text, index
        ids, begins, ends = [], [], []
        for each in new:
            pieces, begin, end = encode_with_offsets(self.tokenizer, each, self.language)
            ids.append(pieces)
            begins.append(begin)
            ends.append(end)
        columns[name] = _utf8(new)
        columns |= {f"{name}.ids": _numbers(ids), f"{name}.begin": _numbers(begins), f"{name}.end": _numbers(ends),
                    f"{name}.at": _numbers(at)}  # fmt: skip


def load(path: Path, kind: str, tokenizer: Tokenizer, language: str) -> Table:
    """A table in memory, straight from a file."""
    encoder, found, count = Encoder(tokenizer, language), dict[str, list[Rows]](), 0
    for rows, columns in encoder.blocks(read(path, kind)):
        count += rows
        for name, block in columns.items():
            found.setdefault(name, []).append(block)
    kept: dict[str, TextColumn] = {name: _join(blocks) for name, blocks in found.items()}
    return Table("input", NEW, kind, language, shown_all(path, kind), CaseInsensitiveMapping(kept), count)


def shown_all(path: Path, kind: str) -> str:
    """The file (of RACE, perhaps the folder) that an example is looked up in."""
    return display_path(files(path, kind)[0] if kind == "aligned" else path)


def _join(blocks: Sequence[Rows]) -> MemoryColumn:
    lengths = np.concatenate([b.lengths for b in blocks])
    return MemoryColumn(
        np.concatenate([b.values for b in blocks]), np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    )


def _ends(counts: RaggedColumn) -> NDArray[np.int64]:
    return np.concatenate(
        [[0], np.cumsum([int(counts[row][0]) for row in range(len(counts))], dtype=np.int64)]
    )


def _utf8(texts: Sequence[str]) -> Rows:
    encoded = [text.encode() for text in texts]
    return Rows(
        np.frombuffer(b"".join(encoded), np.uint8), np.fromiter(map(len, encoded), np.int32, len(encoded))
    )


def _numbers(rows: Sequence[Sequence[int]]) -> Rows:
    lengths = np.fromiter(map(len, rows), np.int32, len(rows))
    return Rows(np.fromiter((n for row in rows for n in row), np.int64, int(lengths.sum())), lengths)
