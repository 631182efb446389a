"""Read tables with a header, as comma-separated values (RFC 4180) or tab-separated values.

In CSV, quotes protect commas and line ends within a value; in TSV a quote is an ordinary character.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.data.formats.bad_rows import BadRows
from masscli.text import corpus
from masscli.text.corpus import display_path, format_suffix

# By default Python refuses values of more than 131,072 characters, but a document may be longer.
csv.field_size_limit(corpus.MAX_LINE_BYTES)


def is_csv(path: Path) -> bool:
    """Return whether a file is comma-separated: its suffix is .csv, and its header has a comma and no tab.

    The suffix does not suffice: some published files, such as those of the STS benchmark, have it although
    they are separated by tabs.
    """
    if format_suffix(path) != ".csv":
        return False
    header = next(corpus.iter_lines(path), "")
    return "," in header and "\t" not in header


def table_rows(
    path: Path, bad_rows: BadRows, has_tabs: bool, hint: str
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield (line, row) for each row of a file in CSV, or in TSV if `has_tabs`, after the header.

    A row is a mapping from column name to value, and `line` is the number of its first line. Raises
    MasscliError, with `hint`, if the file is not CSV or its header has a name twice. A row with too few or
    too many values is left to `bad_rows`, which skips it or raises its error.
    """
    # The csv module joins quoted lines itself, for which it needs their ends.
    file = display_path(path)
    lines = (f"{line}\n" for line in corpus.iter_lines(path))
    # In CSV an unbalanced quote would join rows; strict mode refuses it at the end of the file.
    if has_tabs:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        rows = csv.reader(lines, strict=True)
    names: list[str] | None = None
    line = 1
    try:
        for values in rows:
            if names is None:
                # A blank first line is a header without columns, which no row fits.
                names = values
                if len(set(names)) < len(names):
                    raise MasscliError(
                        f"{file}:1: the header must name every column once, it is {names}",
                        hint,
                    )
            elif len(values) != len(names):
                columns = count_of(len(values), "column")
                error = MasscliError(
                    f"{file}:{line}: has {columns}, the header has {len(names)}", hint
                )
                bad_rows.add(file, line, error)
            else:
                yield line, dict(zip(names, values, strict=True))
            # A quoted value may contain line ends, so that a row may span several lines.
            line = rows.line_num + 1
    except csv.Error as csv_error:
        raise MasscliError(f"{file}:{line}: not CSV ({csv_error})", hint) from None
