"""Which columns of a table are text, and what its labels are: what tasks over labelled examples ask of them, and refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from masscli.data.batch import Ids
from masscli.data.shards import DataBin
from masscli.data.tables import Table
from masscli.errors import MasscliError

KNOWN = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"), ("text1", "text2"),
    ("sentence",), ("text",), ("1", "2"), ("1",),
)  # fmt: skip
"""Names under which texts are known, in this order."""


def text_columns(given: Sequence[str], table: Table, label: str) -> tuple[str, ...]:
    """The columns of text: as given, or those of a known name."""
    for field in given:
        table.require(field, "--text-columns")
    if given:
        return tuple(given)
    for names in KNOWN:
        if all(table.has(name) for name in names):
            return names
    raise MasscliError(f"{table.path}: which columns hold the text?",
                       f"choose one or two with --text-columns; it has {', '.join(f for f in table.fields if f != label)}")  # fmt: skip


def texts_of(columns: Sequence[str], table: Table) -> tuple[str, ...]:
    """The same columns in a table that may be mere lines, whose columns are called 1 and 2."""
    if table.format == "lines":
        found = tuple(str(n) for n in range(1, len(columns) + 1))
        if len(table.fields) != len(found):
            message = f"{table.path}: has {len(table.fields)} columns, the model reads {len(found)} ({', '.join(columns)})"
            raise MasscliError(message, "a text a line, or two with a tab between them")
        return found
    for field in columns:
        table.require(field, "--text-columns")
    return tuple(columns)


def language_of(said: str, table: Table, data: DataBin) -> str:
    """The language of a table, or the one that was said."""
    if said and said not in data.languages:
        raise MasscliError(f"--language {said}: the data has no such language", f"it has {', '.join(data.languages)}")
    return said or table.language


def labels_of(table: Table, field: str) -> Counter[str]:
    """How often each label occurs; one that is empty is named with its place."""
    found = Counter(table.text(field, row) for row in range(len(table)))
    if any(not label.strip() for label in found):
        empty = next(row for row in range(len(table)) if not table.text(field, row).strip())
        raise MasscliError(f"{table.where(empty)}: its {field!r} is empty", "fill it in, or leave the example out")
    return found


def label_list(given: Sequence[str], found: Mapping[str, int], table: Table) -> tuple[str, ...]:
    """The labels of a task: as given, or those of the training part; each of them must have examples there."""
    labels = tuple(given) or tuple(sorted(found))
    if missing := [label for label in labels if label not in found]:
        raise MasscliError(f"{table.path}: no example of label {missing[0]!r}, which --labels names", f"it has {', '.join(sorted(found))}")
    if len(labels) < 2:
        raise MasscliError(f"{table.path}: has one label only, {', '.join(labels)!r}", "there is nothing to learn; is it the right column?")
    return labels


def label_numbers(labels: Sequence[str], table: Table, field: str) -> Ids:
    """The label of every example as a number; an unknown one is named with its place."""
    table.require(field, "--label-column")
    known = {label: n for n, label in enumerate(labels)}
    found = np.zeros(len(table), np.int64)
    for row in range(len(table)):
        if (number := known.get(label := table.text(field, row))) is None:
            raise unknown_label(table.where(row), label, labels)
        found[row] = number
    return found


def unknown_label(where: str, label: str, labels: Sequence[str]) -> MasscliError:
    """A label that the model has never seen."""
    return MasscliError(f"{where}: label {label!r} does not occur in the training part", f"its labels are {', '.join(labels)}")
