"""SWAG as it is distributed: multiple choice of how a situation continues (Zellers et al. 2018)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.csv_rows import table_rows
from masscli.data.formats.json_text import read_objects
from masscli.data.formats.multiple_choice import choice_record
from masscli.data.formats.record import Record
from masscli.text import corpus
from masscli.text.corpus import display_path, format_suffix

REQUIRED = ("sent1", "sent2", "ending0", "ending1")
"""The columns that a file of SWAG must have."""
_HINT = (
    "the columns of SWAG are sent1, sent2, ending0, ending1, ... and possibly label,"
    " separated by commas; quotes protect a comma"
)


def has_swag_columns(path: Path) -> bool:
    """Return whether the header of a .csv file has the columns of SWAG; true if there is no such file."""
    if not path.is_file():
        return True
    header = next(corpus.iter_lines(path), "")
    return all(name in header for name in REQUIRED)


def read_swag(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """Yield a record for every row: `sent1` is the context, `sent2` the question, the endings are choices.

    Each choice joined with its question is `sent2`, a space and the ending. The file is CSV, unless its
    suffix is .tsv or .jsonl. A row that does not have as many values as the header has names is a bad row.
    Raises MasscliError if the file lacks one of the columns REQUIRED, or is not CSV.
    """
    for number, row in _rows(path, bad_rows):
        for name in REQUIRED:
            if name not in row:
                existing = ", ".join(filter(None, row))
                raise MasscliError(
                    f"{display_path(path)}:{number}: has no {name!r}",
                    f"{_HINT}; there is {existing}",
                )
        # There are two or more endings, numbered from 0 without a gap, so that a label says which it means.
        endings: list[str] = []
        while (name := f"ending{len(endings)}") in row:
            endings.append(row[name])
        later = [column for column in row if re.fullmatch("ending[0-9]+", column)]
        if len(later) > len(endings):
            raise MasscliError(
                f"{display_path(path)}:{number}: has {later[-1]!r}, but no {name!r}",
                _HINT,
            )
        # Unlike in RACE, a `_` is not a blank to be filled.
        joined = [f"{row['sent2']} {ending}" for ending in endings]
        label = {"label": row["label"]} if "label" in row else {}
        yield choice_record(number, row["sent1"], row["sent2"], endings, joined, label)


def _rows(path: Path, bad_rows: BadRows) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield (line, row) for each row, as a mapping from column name to value; a row begins at its line."""
    suffix = format_suffix(path)
    if suffix == ".jsonl":
        for number, texts, _ in read_objects(path, bad_rows):
            yield number, texts
    else:
        yield from table_rows(path, bad_rows, suffix == ".tsv", _HINT)
