"""Tables of labelled examples, stored as columns.

A field F of the examples is stored as several columns:

    text field     F (utf-8) and F.ids
    list field     the same with a row for each item, and F.items, the number of items of each example
    shared field   the same with a row for each text that differs from the one before; F.at, the row of each
                   example; F.begin and F.end, the character offsets of each piece in the text
    number field   F

The column `line` holds where each example came from. The token ids of a list's items and of a shared text are
those of the white-space-separated words, one after another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.data.storage.case_insensitive import CaseInsensitiveMapping
from masscli.data.storage.columns import RaggedColumn, TextColumn

LINE_COLUMN = "line"
"""The column that says where in its file each example came from."""
DERIVED_SUFFIXES = ("ids", "items", "at", "begin", "end")
"""What follows the name of a field, and a dot, in the names of the columns that are made for it."""
WITH_QUESTION = "+question"
"""Ends the name of a list field whose items are those of another one, each joined with the question beside
it."""
INPUT_SPLIT = "input"
"""The split of examples that a trained model reads straight from a file."""


def derived_suffix(column: str) -> str:
    """Return the suffix of a derived column, such as `.ids`; an empty string for a field itself."""
    field, _, suffix = column.rpartition(".")
    if field and suffix in DERIVED_SUFFIXES:
        return suffix
    return ""


@dataclass(frozen=True)
class MemoryColumn:
    """A column in memory; `offsets` says where each row starts in the values, and finally where they end."""

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.int64]:
        """Return a copy of the token ids (or whole numbers) of a row."""
        return self._row(row).astype(np.int64)

    def lengths(self, start: int = 0, stop: int | None = None) -> NDArray[np.int32]:
        """Return the number of values of each row from `start` to `stop`."""
        return np.diff(self.offsets)[start:stop].astype(np.int32)

    def text(self, row: int) -> str:
        """Return a row of a text column."""
        return self._row(row).tobytes().decode("utf-8")

    def _row(self, row: int) -> NDArray[Any]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


@dataclass(frozen=True)
class Table:
    """The labelled examples of one split: the first `rows` rows of its columns."""

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
        """Return a table of the first `limit` examples, or of all if it is None."""
        if limit is None:
            return self
        return replace(self, rows=min(limit, self.rows))

    def location(self, row: int) -> str:
        """Return the file and line of an example, for messages."""
        # These formats have no line for each example.
        if self.format in ("squad", "race"):
            return f"{self.path}: question {self.text('id', row)!r}"
        return f"{self.path}:{int(self.columns[LINE_COLUMN][row][0])}"

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the examples, as the file names them."""
        names = []
        for column in self.columns:
            if column != LINE_COLUMN and not derived_suffix(column) and not column.endswith(WITH_QUESTION):
                names.append(column)
        return tuple(names)

    def has(self, field: str) -> bool:
        """Return whether the examples have a field of this name."""
        return field in self.columns

    def is_list(self, field: str) -> bool:
        """Return whether a field holds a list in each example."""
        return f"{field}.items" in self.columns

    def require(self, field: str, flag: str, *, many: bool = False) -> None:
        """Raise MasscliError unless there is a field that holds one string, or a list if `many`.

        `flag` is the option that names the field.
        """
        # A trained model's columns are fixed, so that no option can name another one.
        if not self.has(field):
            if self.split == INPUT_SPLIT:
                advice = "the model was trained on a column of this name"
            else:
                advice = f"choose with {flag}"
            raise MasscliError(
                f"{self.path}: has no column {field!r}", f"{advice}; it has {', '.join(self.fields)}"
            )
        if self.is_list(field) is not many:
            if self.split == INPUT_SPLIT:
                advice = "give it in the form that the model was trained on"
            else:
                advice = f"choose another with {flag}"
            if many:
                message = "is one string in each example, and a list is needed"
            else:
                message = "is a list in each example, and one string is needed"
            raise MasscliError(f"{self.path}: {field!r} {message}", advice)

    def text(self, field: str, row: int) -> str:
        """Return the string of a text field, or of a shared one, in one example."""
        return self.columns[field].text(self.shared_row(field, row))

    def ids(self, field: str) -> TextColumn:
        """Return the column of token ids of a field: a row for each example, or for each item of a list."""
        return self.columns[f"{field}.ids"]

    def shared_row(self, field: str, row: int) -> int:
        """Return the row at which the columns of a shared field store the text of an example."""
        # A field that is not shared has a row for each example.
        shared = self.columns.get(f"{field}.at")
        if shared is None:
            return row
        return int(shared[row][0])

    def numbers(self, field: str, row: int) -> NDArray[np.int64]:
        """Return the whole numbers of a field in one example."""
        return self.columns[field][row]

    def item_rows(self, field: str, row: int) -> range:
        """Return the rows at which the columns of a list field store the items of an example."""
        offsets = self.item_offsets[field]
        return range(int(offsets[row]), int(offsets[row + 1]))

    def strings(self, field: str, row: int) -> list[str]:
        """Return the items of a list field in one example."""
        column = self.columns[field]
        return [column.text(item_row) for item_row in self.item_rows(field, row)]

    @cached_property
    def item_offsets(self) -> CaseInsensitiveMapping[NDArray[np.int64]]:
        """For each list field: where the items of each example start, and finally where they end."""
        offsets = {}
        for name, column in self.columns.items():
            if name.endswith(".items"):
                offsets[name.removesuffix(".items")] = _offsets(column)
        return CaseInsensitiveMapping(offsets)


def _offsets(counts: RaggedColumn) -> NDArray[np.int64]:
    """Return the cumulative sums, from 0, of a column that holds one count in each row."""
    numbers = [int(counts[row][0]) for row in range(len(counts))]
    return np.cumsum([0, *numbers], dtype=np.int64)
