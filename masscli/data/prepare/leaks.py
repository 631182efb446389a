"""Held-out examples of a table that stand in its training part, too: they tell little of what was learned.

Compared is what is text, letter by letter: the fields that the vocabulary is trained on (`is_text`), so neither numbers nor labels of one
word.  They are counted, and left where they are: of published sets all are part of the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from masscli.data.prepare.encode_tables import is_text
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table


class Leak(NamedTuple):
    """Of the `rows` examples of a split, `found` are in the training part."""

    table: str
    split: str
    found: int
    rows: int


def leaks(data: DataFolder) -> list[Leak]:
    """For every held-out split of every table that has a training part; those without such examples are left out."""
    found = []
    for name in data.table_formats:
        splits = [entry.split for entry in data.manifest.tables if entry.name == name]
        if "train" not in splits or len(splits) == 1:
            continue
        train = data.table(name, "train")
        words = [field for field in train.fields if train.has(f"{field}.ids")]
        fields = [
            field for field in words if any(is_text(_text(train, field, row)) for row in range(len(train)))
        ]
        seen = set(_examples(train, fields)) if fields else set()
        for split in (split for split in splits if split != "train"):
            held_out = data.table(name, split)
            if all(held_out.has(field) for field in fields):
                found.append(
                    Leak(name, split, sum(key in seen for key in _examples(held_out, fields)), len(held_out))
                )
    return [leak for leak in found if leak.found]


def _examples(table: Table, fields: list[str]) -> Iterator[int]:
    """A number for the text of each example: equal for equal texts, and for others once in 2^64."""
    return (hash(tuple(_text(table, field, row) for field in fields)) for row in range(len(table)))


def _text(table: Table, field: str, row: int) -> str:
    return " ".join(table.strings(field, row)) if table.is_list(field) else table.text(field, row)
