"""Find the columns of a table that hold the texts of a task, and the language of these texts."""

from __future__ import annotations

from collections.abc import Sequence

from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table

KNOWN_TEXT_COLUMNS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text1", "text2"),
    ("sentence",),
    ("text",),
    ("1", "2"),
    ("1",),
)
"""Names of text columns in common corpora; the texts of a table are the first entry of which it has all
columns, or else its only column of text beside the label."""


def find_text_columns(
    given: Sequence[str], table: Table, label_column: str
) -> tuple[str, ...]:
    """Return the columns of --text-columns, or else those that `_guess_text_columns` finds.

    Raises MasscliError if a column is missing, if one is the label, or if it is unclear which they are.
    """
    for field in given:
        table.require(field, "--text-columns")
    # Names of columns are compared without case, as everywhere in tables.
    if label_column.lower() in [field.lower() for field in given]:
        raise MasscliError(
            f"--text-columns {','.join(given)}: {label_column} is the label",
            "the text must not include the label; see --label-column",
        )
    guessed = tuple(given) or _guess_text_columns(table, label_column)
    if guessed:
        return guessed
    others = _text_columns_beside(table, label_column)
    if not others:
        raise MasscliError(
            f"{table.path}: has no column of text beside {label_column!r}",
            f"it has {', '.join(table.fields)}",
        )
    raise MasscliError(
        f"{table.path}: it is unclear which columns hold the text",
        f"choose one or two with --text-columns; it has {', '.join(others)}",
    )


def _guess_text_columns(table: Table, label_column: str) -> tuple[str, ...]:
    """Return the first of KNOWN_TEXT_COLUMNS of which the table has all columns, none of them the label.

    Without any, it is the only column of text beside the label, and none if there are several.
    """
    # Pairs come first, since a table of pairs may have a column called `sentence`, too.
    for names in KNOWN_TEXT_COLUMNS:
        if label_column.lower() not in names and all(map(table.has, names)):
            return names
    others = _text_columns_beside(table, label_column)
    # A file with a single column may be bare text, whose first line is no header.
    if len(others) == 1 and table.has(label_column):
        return others
    return ()


def _text_columns_beside(table: Table, label_column: str) -> tuple[str, ...]:
    """Return the columns that hold one string in each example, without the label."""
    columns = []
    for field in table.fields:
        is_text = table.has(f"{field}.ids") and not table.is_list(field)
        if is_text and field.lower() != label_column.lower():
            columns.append(field)
    return tuple(columns)


def fields_of_texts(
    columns: Sequence[str], table: Table, label_column: str
) -> tuple[str, ...]:
    """Return the names of the columns of `table` that hold what a trained model reads as its texts.

    `columns` are the text columns in the training data. In `table` the names are the same, except in a file
    of plain lines, whose columns are called 1 and 2 and are taken in this order. An imported model does not
    say which columns it was trained on, nor how many: `columns` is empty then, and the columns are those that
    `_guess_text_columns` finds, or those of the lines. Raises MasscliError if the table does not have the
    columns.
    """
    if table.format == "lines":
        num_columns = len(table.fields)
        if num_columns > 2 or num_columns != (len(columns) or num_columns):
            read = f"{len(columns)} ({', '.join(columns)})" if columns else "1 or 2"
            raise MasscliError(
                f"{table.path}: has {num_columns} columns, the model reads {read}",
                "one text per line, or two with a tab between them",
            )
        return tuple(str(number) for number in range(1, num_columns + 1))
    if not columns:
        guessed = _guess_text_columns(table, label_column)
        if not guessed:
            raise MasscliError(
                f"{table.path}: it is unclear which of its columns hold the text ({', '.join(table.fields)})",
                "call it sentence, or sentence1 and sentence2 if the model reads pairs",
            )
        return guessed
    for field in columns:
        table.require(field, "--text-columns")
    return tuple(columns)


def choose_language(given: str, table: Table, data: DataFolder) -> str:
    """Return `given`, the value of --language, or the language of the table if it is empty.

    Raises MasscliError if `given` is not a language of the data.
    """
    if not given:
        return table.language
    if given not in data.languages:
        raise MasscliError(
            f"--language {given}: the data has no such language",
            f"it has {', '.join(data.languages)}",
        )
    return given
