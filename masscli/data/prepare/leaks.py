"""Find examples in the validation and test splits of a table that are also in its training split.

Such examples say little about what the model has learned, but they are only counted, since published
results include them. Two examples are the same if all their fields with running text (see `is_text`)
are equal, letter by letter; numbers and labels of one word are not compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from masscli.data.prepare.table_text import is_text
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table


class Leak(NamedTuple):
    """The examples of a validation or test split that are also in the training split of their table.

    `leaked` is their number, and `examples` that of all examples in the split.
    """

    table: str
    split: str
    leaked: int
    examples: int


def find_leaks(data: DataFolder) -> list[Leak]:
    """Return an entry for each validation or test split that shares examples with the training split.

    Splits that share none are left out.
    """
    splits: dict[str, list[str]] = {}
    for entry in data.manifest.tables:
        splits.setdefault(entry.name, []).append(entry.split)
    leaks = []
    for name, splits_of_table in splits.items():
        if "train" in splits_of_table and len(splits_of_table) > 1:
            leaks += _leaks_of_table(data, name, splits_of_table)
    return leaks


def _leaks_of_table(data: DataFolder, name: str, splits: list[str]) -> list[Leak]:
    """Return an entry for each of `splits` but train that shares examples with the split train of a table.

    The result is empty if the table has no field with running text.
    """
    train = data.table(name, "train")
    fields = [field for field in train.fields if _is_text_field(train, field)]
    # Examples that consist only of labels and numbers cannot be told apart.
    if not fields:
        return []
    # Hashes take less memory than the texts themselves.
    train_texts = set(_text_hashes(train, fields))
    leaks = []
    for split in splits:
        held_out = data.table(name, split)
        # Without the same fields, as in a test set of another form, examples cannot be compared.
        if split == "train" or not all(held_out.has(field) for field in fields):
            continue
        leaked = sum(text in train_texts for text in _text_hashes(held_out, fields))
        if leaked:
            leaks.append(Leak(name, split, leaked, len(held_out)))
    return leaks


def _is_text_field(table: Table, field: str) -> bool:
    if not table.has(f"{field}.ids"):
        return False
    return any(is_text(_text(table, field, row)) for row in range(len(table)))


def _text_hashes(table: Table, fields: list[str]) -> Iterator[int]:
    """Yield a hash of the given fields of each example.

    Different texts have the same hash with probability 2^-64.
    """
    for row in range(len(table)):
        texts = [_text(table, field, row) for field in fields]
        yield hash(tuple(texts))


def _text(table: Table, field: str, row: int) -> str:
    if table.is_list(field):
        return " ".join(table.strings(field, row))
    return table.text(field, row)
