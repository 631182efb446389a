"""Which columns of a table are text, and what its labels are: what tasks over labelled examples ask of them, and refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.data.formats.conll import CONLLU_COLUMNS
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import LINE_COLUMN, Table

KNOWN = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"), ("text1", "text2"),
    ("sentence",), ("text",), ("1", "2"), ("1",),
)  # fmt: skip
"""Names under which texts are known, in this order."""
UNKNOWN = -1
"""The number of a label that the model does not know."""
NO_GOLD = -2
"""That of one which says that there is none."""
NAMED = 20
"""Labels that a message lists."""


def text_columns(given: Sequence[str], table: Table, label: str) -> tuple[str, ...]:
    """The columns of text: as given, or those of a known name."""
    for field in given:
        table.require(field, "--text-columns")
    if label.lower() in (field.lower() for field in given):
        raise MasscliError(
            f"--text-columns {','.join(given)}: {label} is the label",
            "the text must not tell it; see --label-column",
        )
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


def language_of(said: str, table: Table, data: DataFolder) -> str:
    """The language of a table, or the one that was said."""
    if said and said not in data.languages:
        raise MasscliError(
            f"--language {said}: the data has no such language", f"it has {', '.join(data.languages)}"
        )
    return said or table.language


def labels_of(table: Table, field: str) -> Counter[str]:
    """How often each label occurs; one that is empty is named with its place."""
    found = Counter(table.text(field, row) for row in range(len(table)))
    if any(not label.strip() for label in found):
        empty = next(row for row in range(len(table)) if not table.text(field, row).strip())
        raise MasscliError(
            f"{table.location(empty)}: its {field!r} is empty", "fill it in, or leave the example out"
        )
    return found


def label_list(
    given: Sequence[str], found: Mapping[str, int], table: Table, no_gold: str = ""
) -> tuple[str, ...]:
    """The labels of a task: as given, or those of the training part."""
    labels = tuple(given) or tuple(sorted(found.keys() - {no_gold}))
    if twice := [label for label, count in Counter(labels).items() if count > 1]:
        raise MasscliError(f"--labels: names {twice[0]!r} twice", "name each label once")
    if len(labels) < 2:
        raise MasscliError(
            f"{table.path}: has one label only, {', '.join(labels)!r}",
            "there is nothing to learn; is it the right column?",
        )
    return labels


def label_numbers(labels: Sequence[str], table: Table, field: str, no_gold: str = "") -> Ids:
    """The label of every example, or of every word, as a number; `NO_GOLD` where it says that there is none.

    In the training part an unknown one is a mistake, named with its place; elsewhere it is `UNKNOWN`, and counts as wrong, unless all are.
    """
    column, known = (
        table.columns[field],
        {label: n for n, label in enumerate(labels)} | ({no_gold: NO_GOLD} if no_gold else {}),
    )
    found = np.fromiter((known.get(column.text(n), UNKNOWN) for n in range(_count(table, field))), np.int64)
    strange = np.flatnonzero(found == UNKNOWN)
    if len(found) and (found == NO_GOLD).all():
        raise MasscliError(
            f"{table.path}: no example has a gold label",
            f"all are {no_gold!r} (--no-gold); is it the right column?",
        )
    if len(strange) and (table.split == "train" or len(strange) == len(found)):
        first = int(strange[0])
        how = (
            "is not among --labels"
            if table.split == "train"
            else "does not occur in the training part, and no other one does"
        )
        raise MasscliError(
            f"{_where(table, field, first)}: label {column.text(first)[:60]!r} {how}",
            f"the labels are {some(labels)}",
        )
    return found


def some(labels: Sequence[str]) -> str:
    """The first labels, and how many more there are: a wrong column may have thousands."""
    more = f" and {len(labels) - NAMED} more; is it the right column?" if len(labels) > NAMED else ""
    return ", ".join(label[:60] for label in labels[:NAMED]) + more


def about_labels(labels: Sequence[str], table: Table, field: str, numbers: Ids) -> list[str]:
    """What to know of the labels before anything is learned: which have no example to learn from, or how many are unknown elsewhere."""
    none = int(np.count_nonzero(numbers == NO_GOLD))
    about = (
        [f"{none} of {len(numbers)} examples have no gold label (--no-gold) and are left out"] if none else []
    )
    if table.split == "train":
        there = set(numbers.tolist())
        missing = [repr(label) for n, label in enumerate(labels) if n not in there]
        return (
            [*about, f"no example of label {', '.join(missing)} is in the training part: it is not learned"]
            if missing
            else about
        )
    strange = np.flatnonzero(numbers == UNKNOWN)
    if not len(strange):
        return about
    first = int(strange[0])
    label, where = table.columns[field].text(first), _where(table, field, first)
    about.append(f"{len(strange)} of {len(numbers)} labels do not occur in the training part (first {label!r}, {where}) and count as wrong"
                 " in the measures")  # fmt: skip
    return about


def _count(table: Table, field: str) -> int:
    """How many labels there are."""
    return int(table.item_offsets[field][len(table)]) if table.is_list(field) else len(table)


def _where(table: Table, field: str, number: int) -> str:
    """The place of a label."""
    if not table.is_list(field):
        return table.location(number)
    row = int(np.searchsorted(table.item_offsets[field], number, "right")) - 1
    word = number - int(table.item_offsets[field][row])
    if len(table.fields) == CONLLU_COLUMNS:  # not every line there is a word
        return f"{table.location(row)} (word {word + 1})"
    return f"{table.path}:{int(table.columns[LINE_COLUMN][row][0]) + word}"
