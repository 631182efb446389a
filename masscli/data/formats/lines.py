"""Plain lines without a header: one text per line, or several separated by tabs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.data.formats.record import Record, count_of
from masscli.text import corpus
from masscli.text.corpus import display_path


def read_lines(path: Path) -> Iterator[Record]:
    """Yield a record for every line, whose fields are called `1`, `2`, ...

    Raises MasscliError when a line has not as many columns as the first one.
    """
    width = 0
    for number, row in enumerate(corpus.iter_lines(path), 1):
        values = row.split("\t")
        width = width or len(values)
        if len(values) != width:
            columns = count_of(len(values), "column")
            raise MasscliError(f"{display_path(path)}:{number}: has {columns}, the first line has {width}")
        yield Record(number, {str(column): value for column, value in enumerate(values, 1)})
