"""Turn text into binarized shards and a vocabulary.

Reads aligned files PREFIX.LANG and monolingual files (plain, .gz, .xz or .zst; UTF-8, one sentence per
line), trains a joint SentencePiece BPE on the training text, and writes a data folder. Lines that are
dropped from training are counted and listed in DESTDIR/dropped.tsv; validation and test sets are kept
complete. If the command is killed, repeat it to resume.

Examples:
  masscli preprocess --langs en,de --trainpref m30k/train --validpref m30k/valid --testpref m30k/test2016
  masscli preprocess --langs en,de --trainpref data/train --mono en=news.gz --mono de=news.de.gz --workers 8
  masscli preprocess -s en -t ro --trainpref data/train --spm-model old/vocab.model --destdir data-bin/enro
  masscli preprocess --extend runs/ende --langs en,ro --trainpref data/train --destdir data-bin/enro
  masscli preprocess --langs en --race train=RACE/train,valid=RACE/dev --destdir data-bin/race
  zcat books/*.gz | masscli preprocess --mono en=- --destdir data-bin/books
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from masscli.cli.kept_lines import (
    MANY_UNKNOWN,
    line_warnings,
    report_console,
    table_of_lines,
)
from masscli.core.config import UnusedOption
from masscli.core.errors import NO_ROOM, cannot_be_written
from masscli.data.prepare.config import PreprocessConfig

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from masscli.data.prepare.pipeline import Outcome
    from masscli.data.storage.columns import RaggedColumn
    from masscli.data.storage.data_folder import DataFolder
    from masscli.data.storage.manifest import Manifest, TableEntry

MAX_COLUMN_NAME_WORDS = 5
"""Maximum number of words in a column name; a longer one is probably a sentence."""
LABEL_ROWS = 1000
"""Number of values of a field that are examined to distinguish text from labels."""


def run(config: PreprocessConfig) -> None:
    """Make a data folder, or encode one part of it, and print a report."""
    from masscli.data.prepare.part import encode_part
    from masscli.data.prepare.pipeline import preprocess

    console = report_console()
    with _disk_errors_explained(config), _ConsoleProgress(console) as progress:
        if config.part is not None:
            encode_part(config, progress)
            _say(
                console,
                f"{config.destdir}: part {config.part}; masscli merge-data joins all parts",
            )
            return
        outcome = preprocess(config, progress)
    if outcome.fresh:
        _report(console, config, outcome)
    else:
        _say(console, f"{config.destdir} is up to date")


class _ConsoleProgress:
    """Shows the progress of preprocessing as a bar on a terminal; notes and warnings are plain lines."""

    def __init__(self, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # In a log file, a redrawn bar would be thousands of lines.
            disable=not console.is_terminal,
        )
        self._task = (
            None if self._bar.disable else self._bar.add_task("reading", total=None)
        )

    def note(self, text: str) -> None:
        _say(self._console, text)

    def warn(self, text: str) -> None:
        _warn(self._console, text)

    def start(self, what: str, total: int) -> None:
        if self._task is not None:
            self._bar.reset(self._task, description=what, total=total)

    def advance(self, amount: int) -> None:
        if self._task is not None:
            self._bar.advance(self._task, amount)

    def __enter__(self) -> _ConsoleProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def _warn(console: Console, text: str) -> None:
    console.print(f"warning: {text}", markup=False, soft_wrap=True, style="yellow")


@contextmanager
def _disk_errors_explained(config: PreprocessConfig) -> Iterator[None]:
    """Turn OSErrors in the `with` block about full disks or missing permissions into MasscliErrors."""
    try:
        yield
    except OSError as error:
        # Other errors of the system are bugs, or not about the folder.
        if error.errno not in (*NO_ROOM, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        hint = "give another --destdir, or change the permissions"
        raise cannot_be_written(str(config.destdir), error, hint) from None


def _report(console: Console, config: PreprocessConfig, outcome: Outcome) -> None:
    """Print how many lines were kept and dropped, and warn about suspicious text."""
    manifest = outcome.manifest
    if manifest.filter_stats:
        console.print(table_of_lines(manifest.filter_stats))
    if manifest.tables:
        _report_tables(console, config.destdir)
    _warn_of_unused_filters(config, manifest)
    for warning in line_warnings(manifest.filter_stats):
        _warn(console, warning)
    megabytes = outcome.size / 1e6
    speed = megabytes / outcome.seconds
    _say(
        console,
        f"{config.destdir}: {megabytes:,.1f} MB in {outcome.seconds:.1f} s ({speed:.1f} MB/s)",
    )


def _warn_of_unused_filters(config: PreprocessConfig, manifest: Manifest) -> None:
    """Print warnings about filter options that cannot have an effect on this text."""
    from masscli.cli.unused_options import check_changed_options

    has_lines = bool(manifest.filter_stats)
    has_held_out = any(
        not stats.group.startswith("train.") for stats in manifest.filter_stats
    )
    check_changed_options(
        config,
        UnusedOption(
            not has_lines,
            "min_len max_len max_ratio dedup drop_copies drop_held_out filter_lang",
            "tables keep all their examples, and there is no other text",
        ),
        UnusedOption(
            len(manifest.languages) < 2, "filter_lang", "the text is of one language"
        ),
        UnusedOption(
            not manifest.aligned,
            "drop_copies max_ratio pairs_as_mono",
            "there are no pairs",
        ),
        UnusedOption(
            "ro" not in manifest.languages, "romanian", "there is no Romanian (ro) text"
        ),
        UnusedOption(
            not has_held_out, "drop_held_out", "there is no valid or test set"
        ),
    )


def _report_tables(console: Console, folder: Path) -> None:
    """Print a table of the labeled examples in a data folder, and warnings about what is suspicious there.

    Warnings are about unknown pieces, skipped rows, a missing header, and examples of another split that are
    also in training.
    """
    from masscli.data.prepare.leaks import find_leaks
    from masscli.data.prepare.shard_builder import DROPPED_FILE
    from masscli.data.storage.data_folder import DataFolder

    data = DataFolder.open(folder)
    unknown_shares: dict[str, float] = {}
    console.print(_example_table(data, unknown_shares))
    for warning in (*_empty_text_warnings(data), *_quoting_warnings(data)):
        _warn(console, warning)
    for name, share in unknown_shares.items():
        if share > MANY_UNKNOWN:
            _warn(
                console,
                f"{share:.2%} of the pieces of {name} are unknown; does the vocabulary suit it?",
            )
    for entry in data.manifest.tables:
        _warn_of_bad_rows(console, entry, folder / DROPPED_FILE)
        # Only a TSV file has a header that can be forgotten, as CoLA is distributed without one.
        if entry.format == "tsv":
            _warn_of_missing_header(
                console, entry.path, data.table(entry.name, entry.split).fields
            )
    for leak in find_leaks(data):
        _warn(
            console,
            f"{leak.leaked:,} of the {leak.examples:,} examples of {leak.split}.{leak.table}"
            f" are also in train.{leak.table}, and kept",
        )


def _warn_of_bad_rows(console: Console, entry: TableEntry, log: Path) -> None:
    """Print a warning if rows of a table were skipped; `log` is the file that lists them."""
    if not entry.bad_rows:
        return
    rows = "row was" if entry.bad_rows == 1 else "rows were"
    _warn(
        console,
        f"{entry.path}: {entry.bad_rows:,} bad {rows} skipped, {entry.rows:,} examples are left;"
        f" {log} says which",
    )


def _warn_of_missing_header(console: Console, path: str, fields: Sequence[str]) -> None:
    """Print a warning if a column name of a TSV file looks like a value, so that a header may be missing."""
    for name in fields:
        if not _is_column_name(name):
            _warn(
                console,
                f"{path}: the first line is read as column names, one of them {name!r};"
                " if it is an example, put a header before it",
            )
            return


def _example_table(data: DataFolder, unknown_shares: dict[str, float]) -> Table:
    """Return a table with a row for each field of each table and split that is stored as pieces.

    The share of unknown pieces, from 0 to 1, of each field that has text, rather than labels or ids, is added
    to `unknown_shares`, under its name and its file, in place.
    """
    from rich.table import Table

    from masscli.data.prepare.table_text import is_text

    result = Table(box=None, header_style="bold", pad_edge=False)
    result.add_column("table", no_wrap=True)
    result.add_column("examples", justify="right", no_wrap=True)
    result.add_column("text", no_wrap=True)
    for name in ("pieces", "unknown"):
        result.add_column(name, justify="right", no_wrap=True)
    kinds = {column.name: column.kind for column in data.manifest.columns}
    for entry in data.manifest.tables:
        table = data.table(entry.name, entry.split)
        columns = table.columns
        for field in entry.fields:
            # Every text field has one column of token ids.
            if kinds[field.column] != "ids":
                continue
            text = field.name.removesuffix(".ids")
            # Labels and ids are not text, and are never split into pieces.
            rows = range(min(len(columns[text]), LABEL_ROWS))
            counted = ("", "")
            if table.is_list(text) or any(
                is_text(columns[text].text(row)) for row in rows
            ):
                pieces, share = _count_unknown(columns[field.name], data.vocab.unk)
                unknown_shares[f"{text} in {entry.path}"] = share
                counted = (f"{pieces:,}", f"{share:.3%}")
            result.add_row(
                f"{entry.split}.{entry.name}", f"{entry.rows:,}", text, *counted
            )
    return result


def _count_unknown(column: RaggedColumn, unknown_id: int) -> tuple[int, float]:
    """Return the number of pieces in a column of token ids, and the share of unknown ones, from 0 to 1."""
    pieces = int(column.lengths().sum())
    unknown = 0
    for row in range(len(column)):
        unknown += int((column[row] == unknown_id).sum())
    return pieces, unknown / max(1, pieces)


def _empty_text_warnings(data: DataFolder) -> Iterator[str]:
    """Yield a warning for each field of running text in which some texts are empty."""
    from masscli.data.prepare.table_text import is_text

    for entry in data.manifest.tables:
        table = data.table(entry.name, entry.split)
        for name, column in table.columns.items():
            text = name.removesuffix(".ids")
            # Labels are checked by the task, and a list of choices or turns may be empty.
            if text == name or table.is_list(text):
                continue
            texts = table.columns[text]
            empty = int((column.lengths() == 0).sum())
            rows = range(min(len(texts), LABEL_ROWS))
            if empty and any(is_text(texts.text(row)) for row in rows):
                yield f"{empty:,} of {len(column):,} texts of {text} in {entry.path} are empty"


def _quoting_warnings(data: DataFolder) -> Iterator[str]:
    """Yield a warning for each column of a TSV file that was written with the quotes of CSV, which stay."""
    for entry in data.manifest.tables:
        if entry.format != "tsv":
            continue
        table = data.table(entry.name, entry.split)
        for name in table.fields:
            values = [
                table.text(name, row) for row in range(min(len(table), LABEL_ROWS))
            ]
            quoted = sum(map(_is_quoted, values))
            if quoted:
                yield (
                    f"{entry.path}: {quoted:,} of the first {len(values):,} values of {name} are in quotes, "
                    "with doubled ones inside, as in CSV; in TSV quotes are text"
                )


def _is_quoted(text: str) -> bool:
    """Return whether a text stands in quotes, and has quotes inside that are all doubled."""
    inside = text[1:-1]
    is_in_quotes = len(text) > 1 and text[0] == text[-1] == '"'
    return is_in_quotes and '""' in inside and '"' not in inside.replace('""', "")


def _is_column_name(text: str) -> bool:
    """Return whether a text may be a column name: it has a letter, and few enough words."""
    return (
        any(character.isalpha() for character in text)
        and len(text.split()) <= MAX_COLUMN_NAME_WORDS
    )
