"""Tab-separated values with a header; a file called .csv may be separated by commas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.csv_rows import is_csv, table_rows
from masscli.data.formats.record import Record
from masscli.text import corpus
from masscli.text.corpus import display_path

ROW_NUMBER = "unnamed"
"""The name of a column of CSV that has none."""
_CSV_HINT = "values are separated by commas; quotes protect commas and line ends, and two quotes are one"


def read_tsv(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """Yield a record for every row after the header, whose names become text fields.

    Quotes are part of the text, unless the file is comma-separated (see `is_csv`). A row that does not have
    as many values as the header has names is a bad row. Raises MasscliError if the first line cannot be a
    header.
    """
    if is_csv(path):
        yield from _read_csv(path, bad_rows)
        return
    rows = corpus.iter_lines(path)
    file = display_path(path)
    header = next(rows, None)
    if header is None:
        return
    names = _column_names(header, f"{file}:1")
    for number, row in enumerate(rows, 2):
        values = row.split("\t")
        if len(values) == len(names):
            yield Record(number, dict(zip(names, values, strict=True)))
            continue
        columns = count_of(len(values), "column")
        error = MasscliError(
            f"{file}:{number}: has {columns}, the header has {len(names)}",
            "columns are separated by single tabs; quotes do not protect a tab or a line end",
        )
        bad_rows.add(file, number, error)


def _read_csv(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """Yield a record for every row of a comma-separated file, whose quotes protect commas and line ends."""
    for number, row in table_rows(path, bad_rows, False, _CSV_HINT):
        # The numbers of rows, as pandas writes them, have no name.
        yield Record(number, {name or ROW_NUMBER: text for name, text in row.items()})


def _column_names(header: str, place: str) -> list[str]:
    """Return the names in a header line. Raises MasscliError if the line cannot be a header."""
    names = header.split("\t")
    if len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise MasscliError(
            f"{place}: the header must name every column once, it is {' '.join(map(repr, names))}",
            "the first line of a TSV file holds the names of its columns",
        )
    # One column is unusual; a sign of JSON or CSV in it shows that the file is something else.
    if len(names) == 1 and any(sign in header for sign in "{;,"):
        if "{" in header:
            advice = "JSON objects, one per line, are read with --jsonl"
        else:
            advice = "is the first line a header?"
        raise MasscliError(
            f"{place}: the header has no tab: {header[:60]!r}",
            f"columns are separated by tabs; {advice}",
        )
    return names
