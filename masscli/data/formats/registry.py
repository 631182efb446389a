"""The table of file formats: the reader of each, its file names, and the files that a path means."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.data.formats.aligned import aligned_files, read_aligned
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.column_checks import ColumnCheck
from masscli.data.formats.conll import read_conll
from masscli.data.formats.dialogues import read_dialogues
from masscli.data.formats.jsonl import read_jsonl
from masscli.data.formats.lines import read_lines
from masscli.data.formats.race import article_files, read_race
from masscli.data.formats.record import Record
from masscli.data.formats.squad import read_squad
from masscli.data.formats.swag import has_swag_columns, read_swag
from masscli.data.formats.tsv import read_tsv
from masscli.data.storage.tables import LINE_COLUMN, derived_suffix
from masscli.text.corpus import display_path, format_suffix

_SHOWN_LETTERS = 60
"""Maximum number of characters of a value that a message shows."""


def _one_file(path: Path) -> list[Path]:
    return [path]


@dataclass(frozen=True, slots=True)
class Format:
    """One file format of labeled examples."""

    read: Callable[[Path, BadRows], Iterator[Record]]
    """Yields the records of the file at a path; the second argument decides what becomes of bad rows."""
    suffixes: tuple[str, ...] = ()
    """Suffixes of file names by which the format is recognized."""
    files: Callable[[Path], list[Path]] = _one_file
    """Returns the files that the path in an option names: several for RACE and for SOURCE:TARGET."""


FORMATS: Mapping[str, Format] = {
    "tsv": Format(read_tsv, (".tsv",)),
    "lines": Format(read_lines),
    "jsonl": Format(read_jsonl, (".jsonl",)),
    "conll": Format(read_conll, (".conll", ".conllu")),
    "squad": Format(read_squad, (".json",)),
    "dialogues": Format(read_dialogues),
    "aligned": Format(read_aligned, files=aligned_files),
    "swag": Format(read_swag, (".csv",)),
    "race": Format(read_race, files=article_files),
}


def read_records(
    path: Path, format: str, bad_rows: BadRows | None = None
) -> Iterator[Record]:
    """Yield the records of a file, of a folder of RACE, or of two files SOURCE:TARGET.

    Rows that cannot be read raise MasscliError if `bad_rows` is None, and are treated as it says otherwise.
    Raises MasscliError also if there is no example, if too many rows are bad, or if a field has a name that
    masscli uses for a column of its own.
    """
    bad_rows = bad_rows or BadRows()
    records = _checked(
        FORMATS[format].read(path, bad_rows), display_path(path), bad_rows
    )
    # All records have the fields of the first one, so that checking it is enough.
    first = next(records, None)
    if first is None:
        bad_rows.check_share(display_path(path), 0)
        raise MasscliError(
            f"{display_path(path)}: holds no examples", "is it the right file?"
        )
    for name in (*first.texts, *first.lists):
        if name == LINE_COLUMN or derived_suffix(name):
            raise MasscliError(
                f"{display_path(path)}: a column cannot be called {name!r}",
                "masscli uses this name itself: rename the column",
            )
    count = 0
    for record in itertools.chain([first], records):
        yield record
        count += 1
    # How many rows there are is known only now.
    bad_rows.check_share(display_path(path), count)


def _checked(
    records: Iterator[Record], file: str, bad_rows: BadRows
) -> Iterator[Record]:
    """Yield the records whose columns pass all checks of `bad_rows`; the others are bad rows of `file`."""
    for record in records:
        try:
            for check in bad_rows.checks:
                _check_column(record, file, check, bad_rows)
        except MasscliError as error:
            bad_rows.add(file, record.line, error)
            continue
        yield record


def _check_column(
    record: Record, file: str, check: ColumnCheck, bad_rows: BadRows
) -> None:
    """Raise MasscliError, which names file and line, if a value of a column in a record breaks a check.

    The column may hold a text or a list of texts; a record without it passes. The name of a column that was
    found is added to `bad_rows.checked`.
    """
    for column, values in (*_single_texts(record), *record.lists.items()):
        if column.lower() != check.column.lower():
            continue
        bad_rows.checked.add(check.column)
        for value in values:
            problem = check.problem(value)
            if problem is not None:
                shown = value[:_SHOWN_LETTERS]
                raise MasscliError(
                    f"{file}:{record.line}: {column} {shown!r} {problem}"
                )


def _single_texts(record: Record) -> Iterator[tuple[str, tuple[str]]]:
    """Yield the name and the text, as a tuple of one, of each field that holds one text."""
    for column, text in record.texts.items():
        yield column, (text,)


def guess_format(path: Path) -> str | None:
    """Return the name of the format that a path's suffix suggests, `race` for a folder, or None.

    A file .csv is `swag` if it has the columns of SWAG, or cannot be read, and otherwise `tsv`.
    """
    # RACE is distributed as a folder with a file for each article.
    if path.is_dir():
        return "race"
    suffix = format_suffix(path)
    for name, format in FORMATS.items():
        if suffix in format.suffixes:
            return "tsv" if name == "swag" and not has_swag_columns(path) else name
    return None


def read_as_text(path: Path) -> str | None:
    """Return a remark on a file of lines whose name is that of labeled examples; None for any other file.

    A command that reads lines of text shows it as a warning: such a file has other contents than its lines.
    """
    # A folder, which cannot be read as text, is refused where it is opened.
    kind = None if path.is_dir() else guess_format(path)
    if kind is None:
        return None
    return f"{path}: is read as text, a line at a time, and not as {kind}"


def input_files(path: Path, format: str) -> list[Path]:
    """Return the files that a path in this format names: several for RACE and for SOURCE:TARGET."""
    return FORMATS[format].files(path)
