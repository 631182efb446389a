"""Tables of labeled examples, stored as columns.

A field F of the examples is stored as several columns:

    text field     F (utf-8) and F.ids
    list field     the same with a row for each item, and F.items, the number of items of each example
    shared field   the same with a row for each text that differs from the one before; F.at, the row of each
                   example; F.begin and F.end, the character offsets of each piece in the text
    number field   F

The column `line` holds the number of the line of the input file at which each example starts (see `Record`
for formats without lines). The token ids of a list's items and of a shared text are those of the
white-space-separated words, one after another.
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
"""The name of the column that holds the number of the line at which each example starts."""
DERIVED_SUFFIXES = ("ids", "items", "at", "begin", "end")
"""The suffixes of columns that are made for a field, as in `text.ids`. The module docstring says what each
holds."""
WITH_QUESTION = "+question"
"""The suffix of a list field that is made from another one: `choices+question` holds the items of `choices`,
each joined with the question of the example."""
INPUT_SPLIT = "input"
"""The name of the split of a table in memory, whose examples a trained model reads straight from a file."""


def derived_suffix(column: str) -> str:
    """Return the suffix of a derived column, `ids` for `text.ids`, or an empty string for a field itself."""
    field, _, suffix = column.rpartition(".")
    if field and suffix in DERIVED_SUFFIXES:
        return suffix
    return ""


@dataclass(frozen=True)
class MemoryColumn:
    """A column in memory, with the values of all rows concatenated.

    `offsets` (rows + 1,) are the indices in `values` at which the rows start, and finally the number of
    values.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.int64]:
        """Return a copy of the token ids (or whole numbers) of a row."""
        return self._row(row).astype(np.int64)

    def lengths(self, start: int = 0, stop: int | None = None) -> NDArray[np.int32]:
        """Return the number of values of each row from `start` to `stop` - 1; by default of all rows."""
        return np.diff(self.offsets)[start:stop].astype(np.int32)

    def text(self, row: int) -> str:
        """Return a row of UTF-8 bytes as text."""
        return self._row(row).tobytes().decode("utf-8")

    def _row(self, row: int) -> NDArray[Any]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


@dataclass(frozen=True)
class Table:
    """The labeled examples of one split, as columns by name; there are `rows` examples.

    `format`, `language` and `path` are those of the file that they were read from.
    """

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
        """Return a table of the first `limit` examples, or this table if `limit` is None."""
        if limit is None:
            return self
        # The columns stay as they are: nothing reads rows after the last example.
        return replace(self, rows=min(limit, self.rows))

    def location(self, row: int) -> str:
        """Return `file:line` of an example, or its file and question id in SQuAD and RACE, for messages."""
        # These formats have no line for each example.
        if self.format in ("squad", "race"):
            return f"{self.path}: question {self.text('id', row)!r}"
        return f"{self.path}:{int(self.columns[LINE_COLUMN][row][0])}"

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the examples, as the file names them.

        Columns that masscli adds, such as `line`, `text.ids` and `choices+question`, are not among them.
        """
        names = []
        for column in self.columns:
            if (
                column != LINE_COLUMN
                and not derived_suffix(column)
                and not column.endswith(WITH_QUESTION)
            ):
                names.append(column)
        return tuple(names)

    def has(self, field: str) -> bool:
        """Return whether there is a field of this name, or a column that masscli adds, such as `text.ids`.

        The name may differ in capitalization.
        """
        return field in self.columns

    def is_list(self, field: str) -> bool:
        """Return whether a field holds a list of strings in each example."""
        return f"{field}.items" in self.columns

    def require(self, field: str, flag: str, *, many: bool = False) -> None:
        """Raise MasscliError unless a field exists and holds one string in each example, or a list of them.

        With `many` it must be a list, and otherwise one string. `flag` is the option by which the user names
        the field, for the hint.
        """
        names = {name.lower() for name in self.fields}
        advice = f"choose with {flag}"
        other_advice = f"choose another with {flag}"
        # A trained model's columns are fixed, so no option can name another one.
        if self.split == INPUT_SPLIT:
            advice = "the model was trained on a column of this name"
            other_advice = "give it in the form that the model was trained on"
        # Nor can one if no column is a list.
        if many and not any(map(self.is_list, self.fields)):
            advice = other_advice = self._list_advice(field, flag)
        if not self.has(field) or field.lower() not in names:
            raise MasscliError(
                f"{self.path}: has no column {field!r}",
                f"{advice}; it has {', '.join(self.fields)}",
            )
        # Only text has token ids; numbers, such as the starts of answers, have none.
        if not self.has(f"{field}.ids"):
            raise MasscliError(
                f"{self.path}: {field!r} holds whole numbers, and text is needed",
                other_advice,
            )
        if self.is_list(field) is not many:
            message = "is a list in each example, and one string is needed"
            if many:
                message = "is one string in each example, and a list is needed"
            raise MasscliError(f"{self.path}: {field!r} {message}", other_advice)

    def _list_advice(self, field: str, flag: str) -> str:
        """Return a hint that says how to make the list `field`, for a table that has no lists at all.

        `flag` is the option by which the user names it. Such a table was read from JSONL, as other formats
        either have all the lists that a task needs, or are not read by it.
        """
        # PIQA has a field for each choice, sol1 and sol2, and Social IQa has answerA, answerB and answerC.
        alike: dict[str, list[str]] = {}
        for name in self.fields:
            if name.isidentifier():
                alike.setdefault(name[:-1], []).append(name)
        members = max(alike.values(), key=len, default=[])
        if len(members) < 2:
            members = ["FIRST", "SECOND"]
        listed = ", ".join(f".{name}" for name in members)
        # Several columns are no name of a column, but a user may have given them.
        name = field if field.isidentifier() else "list"
        advice = f"jq -c '.{name} = [{listed}]' joins columns into a list"
        if self.split == INPUT_SPLIT:
            return advice
        return f"{advice} for {flag} {name}"

    def text(self, field: str, row: int) -> str:
        """Return the string that a text field or a shared field holds in the example `row`."""
        return self.columns[field].text(self.shared_row(field, row))

    def ids(self, field: str) -> TextColumn:
        """Return the column `FIELD.ids`, which holds the token ids of a text field.

        It has a row for each example; of a list field, for each item; and of a shared field, for each text
        that differs from the one before.
        """
        return self.columns[f"{field}.ids"]

    def shared_row(self, field: str, row: int) -> int:
        """Return the row at which the columns of a field store the text of the example `row`.

        For a field that is not shared this is `row` itself.
        """
        # A field that is not shared has a row for each example.
        shared = self.columns.get(f"{field}.at")
        if shared is None:
            return row
        return int(shared[row][0])

    def numbers(self, field: str, row: int) -> NDArray[np.int64]:
        """Return the whole numbers that a number field holds in the example `row`."""
        return self.columns[field][row]

    def item_rows(self, field: str, row: int) -> range:
        """Return the rows at which the columns of a list field store the items of the example `row`."""
        offsets = self.item_offsets[field]
        return range(int(offsets[row]), int(offsets[row + 1]))

    def strings(self, field: str, row: int) -> list[str]:
        """Return the items that a list field holds in the example `row`."""
        column = self.columns[field]
        return [column.text(item_row) for item_row in self.item_rows(field, row)]

    @cached_property
    def item_offsets(self) -> CaseInsensitiveMapping[NDArray[np.int64]]:
        """For each list field, the row in its columns at which the items of each example start.

        The array (stored examples + 1,) also covers examples that `head` has cut off; its last offset is the
        number of all items.
        """
        offsets = {}
        for name, column in self.columns.items():
            if name.endswith(".items"):
                offsets[name.removesuffix(".items")] = _offsets(column)
        return CaseInsensitiveMapping(offsets)


def _offsets(counts: RaggedColumn) -> NDArray[np.int64]:
    """Return [0, c0, c0 + c1, ...] for a column whose rows hold one count c each."""
    numbers = [int(counts[row][0]) for row in range(len(counts))]
    return np.cumsum([0, *numbers], dtype=np.int64)
