"""The labels of a task: find them in a table, map them to ids, and warn about suspicious ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from masscli.core.digits import parse_number
from masscli.core.errors import MasscliError
from masscli.core.listing import list_some
from masscli.data.batches.batch import Ids
from masscli.data.formats.conll import CONLLU_COLUMNS
from masscli.data.storage.tables import LINE_COLUMN, Table

UNKNOWN_LABEL = -1
"""The id that stands for any label that the model does not know."""
NO_GOLD_LABEL = -2
"""The id that stands for a missing gold label (see --no-gold)."""
MAX_LISTED = 20
"""Maximum number of labels that an error message lists."""
MAX_LABEL_WIDTH = 60
"""Maximum number of characters of a label that an error message shows."""


def count_labels(table: Table, field: str) -> Counter[str]:
    """Return how often each label occurs in the column `field` of a table.

    Raises MasscliError if a label is empty.
    """
    labels = [table.text(field, row) for row in range(len(table))]
    for row, label in enumerate(labels):
        # An empty label is more likely a missing one.
        if not label.strip():
            raise MasscliError(
                f"{table.location(row)}: its {field!r} is empty",
                f"fill it in, or leave such rows out: masscli preprocess --check-columns {field}=filled "
                "--bad-rows skip",
            )
    return Counter(labels)


def choose_labels(
    given: Sequence[str], counts: Mapping[str, int], table: Table, no_gold: str = ""
) -> tuple[str, ...]:
    """Return `given`, the labels of --labels, or if it is empty those of the training part, sorted.

    `counts` says how often each label occurs in the training part; of these labels `no_gold`, which stands
    for a missing gold label, is left out. `table` is named in errors. Raises MasscliError if a label is given
    twice, or if there are fewer than two labels.
    """
    # Sorted, so that the ids of labels do not depend on the order of examples.
    labels = tuple(given) or tuple(sorted(counts.keys() - {no_gold}))
    for label, occurrences in Counter(labels).items():
        if occurrences > 1:
            raise MasscliError(
                f"--labels: names {label!r} twice", "name each label once"
            )
    if len(labels) < 2:
        raise MasscliError(
            f"{table.path}: has one label only, {', '.join(labels)!r}",
            "there is nothing to learn; is it the right column?",
        )
    return labels


def read_label_ids(
    labels: Sequence[str], table: Table, field: str, no_gold: str = ""
) -> Ids:
    """Return the labels (N,) of all examples, or of all words of a list field, as positions in `labels`.

    Words of a list field are numbered through all examples. The label `no_gold` becomes NO_GOLD_LABEL, and a
    label that is not in `labels` becomes UNKNOWN_LABEL. Raises MasscliError for an unknown label in the
    training part, if all are unknown, and if none is a gold label.
    """
    known = {label: number for number, label in enumerate(labels)}
    if no_gold:
        known[no_gold] = NO_GOLD_LABEL
    # A list field has a label for each item, one after another.
    column = table.columns[field]
    count = _num_labels(table, field)
    label_ids = np.full(count, UNKNOWN_LABEL, np.int64)
    for number in range(count):
        label_ids[number] = known.get(column.text(number), UNKNOWN_LABEL)
    if count and (label_ids == NO_GOLD_LABEL).all():
        raise MasscliError(
            f"{table.path}: no example has a gold label",
            f"all are {no_gold!r} (--no-gold); is it the right column?",
        )
    # Outside the training split, an unknown label may just be rare, unless all are unknown.
    unknown = np.flatnonzero(label_ids == UNKNOWN_LABEL)
    if len(unknown) and table.split == "train":
        _refuse_label(labels, table, field, int(unknown[0]), "is not among --labels")
    if len(unknown) and len(unknown) == count:
        reason = "does not occur in the training part, and no other one does"
        _refuse_label(labels, table, field, int(unknown[0]), reason)
    return label_ids


def label_warnings(
    labels: Sequence[str], table: Table, field: str, label_ids: Ids
) -> list[str]:
    """Return warnings about the labels of a table, to be shown before training begins.

    They name the labels without an example and those that look alike (in the training part) or count the
    unknown labels (elsewhere), and count the examples without a gold label. `label_ids` (N,) are those of
    `read_label_ids`.
    """
    warnings = []
    num_no_gold = int(np.count_nonzero(label_ids == NO_GOLD_LABEL))
    if num_no_gold:
        warnings.append(
            f"{num_no_gold} of {len(label_ids)} examples have no gold label (--no-gold) and are left out"
        )
    if table.split == "train":
        present = set(label_ids.tolist())
        missing = [
            repr(label) for number, label in enumerate(labels) if number not in present
        ]
        if missing:
            warnings.append(
                f"no example of label {', '.join(missing)} is in the training part: it is not learned"
            )
        for alike in _labels_alike(labels):
            names = " and ".join(map(repr, alike))
            warnings.append(
                f"labels {names} are different ones, although they differ in case, white space or the "
                "spelling of a number alone"
            )
        return warnings
    unknown = np.flatnonzero(label_ids == UNKNOWN_LABEL)
    if len(unknown):
        first = int(unknown[0])
        example = f"first {table.columns[field].text(first)!r}, {_location(table, field, first)}"
        warnings.append(
            f"{len(unknown)} of {len(label_ids)} labels do not occur in the training part ({example})"
            " and count as wrong in the metrics"
        )
    return warnings


def _labels_alike(labels: Sequence[str]) -> list[list[str]]:
    """Return the groups of labels that a reader would take for one, such as `1`, `01` and `1.0`."""
    groups: dict[float | str, list[str]] = {}
    for label in labels:
        number = parse_number(label)
        key = " ".join(label.split()).casefold() if number is None else number
        groups.setdefault(key, []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def _refuse_label(
    labels: Sequence[str], table: Table, field: str, number: int, reason: str
) -> None:
    label = table.columns[field].text(number)[:MAX_LABEL_WIDTH]
    raise MasscliError(
        f"{_location(table, field, number)}: label {label!r} {reason}",
        f"the labels are {_abbreviated(labels)}",
    )


def _abbreviated(labels: Sequence[str]) -> str:
    """Return a text that lists the first MAX_LISTED labels and says how many more there are.

    A wrong column may have thousands.
    """
    listed = list_some([label[:MAX_LABEL_WIDTH] for label in labels], MAX_LISTED)
    if len(labels) <= MAX_LISTED:
        return listed
    return f"{listed}; is it the right column?"


def _num_labels(table: Table, field: str) -> int:
    # A table may be cut to its first examples, while its columns are whole.
    if table.is_list(field):
        return int(table.item_offsets[field][len(table)])
    return len(table)


def _location(table: Table, field: str, number: int) -> str:
    """Return the file and line of label `number` of the column `field`, for messages.

    If the column has a list of labels for each example, labels are numbered through all examples, from 0.
    """
    if not table.is_list(field):
        return table.location(number)
    row = int(np.searchsorted(table.item_offsets[field], number, "right")) - 1
    word = number - int(table.item_offsets[field][row])
    # In CoNLL-U, some lines between the words are not words.
    if len(table.fields) == CONLLU_COLUMNS:
        return f"{table.location(row)} (word {word + 1})"
    return f"{table.path}:{int(table.columns[LINE_COLUMN][row][0]) + word}"
