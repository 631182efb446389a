"""Plain lines without a header: one text per line, or several separated by tabs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.record import Record
from masscli.text import corpus
from masscli.text.corpus import display_path


def read_lines(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """Yield a record for every line; its tab-separated columns are the text fields `1`, `2`, ...

    A line that does not have as many columns as the first one is a bad row.
    """
    width = 0
    file = display_path(path)
    for number, row in enumerate(corpus.iter_lines(path), 1):
        values = row.split("\t")
        # There is no header, so that the first line says how many columns there are.
        width = width or len(values)
        if len(values) != width:
            columns = count_of(len(values), "column")
            error = MasscliError(
                f"{file}:{number}: has {columns}, the first line has {width}"
            )
            bad_rows.add(file, number, error)
            continue
        yield Record(
            number, {str(column): value for column, value in enumerate(values, 1)}
        )
