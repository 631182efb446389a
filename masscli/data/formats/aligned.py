"""Two aligned files of one language, such as articles and their summaries."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.record import Record
from masscli.text import corpus


def aligned_files(path: Path) -> list[Path]:
    """Return the two paths in `SOURCE:TARGET`, or whatever other number of paths the colons separate."""
    return [Path(name) for name in str(path).split(":")]


def read_aligned(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """Yield a record with the fields `source` and `target` for every line of the files in SOURCE:TARGET.

    No line is a bad row. Raises MasscliError if `path` does not name two files, or if they do not have the
    same number of lines.
    """
    files = aligned_files(path)
    if len(files) != 2:
        raise MasscliError(
            f"{path}: expected SOURCE:TARGET", "two files with the same number of lines"
        )
    source_file, target_file = files
    # The longer file tells at which line the other one ends.
    hint = "line n of one belongs to line n of the other"
    lines = zip_longest(corpus.iter_lines(source_file), corpus.iter_lines(target_file))
    for number, (source, target) in enumerate(lines, 1):
        if source is None:
            raise MasscliError(
                f"{source_file}: ends before line {number}, unlike {target_file}", hint
            )
        if target is None:
            raise MasscliError(
                f"{target_file}: ends before line {number}, unlike {source_file}", hint
            )
        yield Record(number, {"source": source, "target": target})
