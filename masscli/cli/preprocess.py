"""Turn text into binarised, checksummed shards and a vocabulary.

Reads aligned files PREFIX.LANG and monolingual files (plain, .gz or .xz; UTF-8, one sentence a line), trains a joint SentencePiece BPE on
the training part, and writes a data folder. Lines that are dropped from training are counted and listed in DESTDIR/dropped.tsv; validation
and test are kept whole. A run that was killed goes on where it stopped when the same command is given again.

Examples:
  masscli preprocess --langs en,de --trainpref multi30k/train --validpref multi30k/valid --testpref multi30k/test2016
  masscli preprocess --langs en,de --trainpref data/train --mono en=news.en.gz --mono de=news.de.gz --vocab-size 16000 --workers 8
  masscli preprocess -s en -t ro --trainpref data/train --spm-model old/vocab.model --destdir data-bin/enro
  masscli preprocess --langs en --race train=RACE/train,valid=RACE/dev --destdir data-bin/race
  zcat books/*.gz | masscli preprocess --mono en=- --destdir data-bin/books
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from masscli.data.prepare.pipeline import Outcome
    from masscli.data.storage.data_folder import DataFolder
    from masscli.data.storage.manifest import Side

MANY_UNKNOWN = 0.001
MANY_LEAKED = 0.01
MANY_WORDS = 5
WIDTH_OF_A_LOG = 140


def run(config: PreprocessConfig) -> None:
    """Make a data folder."""
    from rich.console import Console

    from masscli.data.prepare.pipeline import preprocess

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_OF_A_LOG
    with _disk(config), _News(console) as news:
        outcome = preprocess(config, news)
    _report(console, config, outcome)


class _News:
    """Progress on a terminal, plain lines elsewhere."""

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
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = None if self._bar.disable else self._bar.add_task("reading", total=None)

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        self._console.print(f"warning: {text}", markup=False, soft_wrap=True, style="yellow")

    def start(self, what: str, total: int) -> None:
        if self._task is not None:
            self._bar.reset(self._task, description=what, total=total)

    def advance(self, amount: int) -> None:
        if self._task is not None:
            self._bar.advance(self._task, amount)

    def __enter__(self) -> _News:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


@contextmanager
def _disk(config: PreprocessConfig) -> Iterator[None]:
    """What only the operating system can say, in one line."""
    try:
        yield
    except OSError as error:
        message = f"cannot write to {config.destdir}: {error.strerror}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise MasscliError(
                message, "make some room and give the same command again: it goes on where it stopped"
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise MasscliError(message, "give another --destdir, or change the permissions") from None
        raise


def _report(console: Console, config: PreprocessConfig, outcome: Outcome) -> None:
    """Where the lines went."""
    from rich.table import Table

    manifest = outcome.manifest
    if not outcome.fresh:
        console.print(f"{config.destdir} is up to date", markup=False, soft_wrap=True)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("part", no_wrap=True)
    for name in ("lines", "kept", "breaks"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("dropped")
    table.add_column("side")
    for name in ("pieces", "a line", "unknown"):
        table.add_column(name, justify="right", no_wrap=True)
    for account in manifest.accounts:
        why = [f"{count:,} {reason}" for reason, count in account.dropped.items()]
        why += [f"({count:,} {reason}, kept)" for reason, count in account.odd.items()]
        counts = (f"{account.lines:,}", f"{account.kept:,}", f"{account.breaks:,}", ", ".join(why) or "none")
        table.add_row(
            account.part,
            *counts,
            *map("\n".join, zip(*(_figures(side, account.kept) for side in account.sides), strict=True)),
        )
    if manifest.accounts:
        console.print(table)
    if manifest.tables:
        _report_tables(console, config.destdir)
    splits = {account.part.partition(".")[0] for account in manifest.accounts}
    languages, pairs = manifest.languages, manifest.aligned
    idle = {
        "--filter-lang": config.filter_lang and len(languages) < 2, "--drop-copies": config.drop_copies and not pairs,
        "--max-ratio": config.max_ratio > 0 and not pairs, "--romanian": bool(config.romanian) and "ro" not in languages,
        "--drop-held-out": config.drop_held_out and not splits - {"train"},
    }  # fmt: skip
    for flag in (flag for flag, nothing in idle.items() if nothing):
        console.print(
            f"warning: {flag} has nothing to do with this text", markup=False, soft_wrap=True, style="yellow"
        )
    for account in manifest.accounts:
        leaked = account.odd.get("in valid or test", 0)
        if leaked > MANY_LEAKED * account.lines:
            text = f"warning: {leaked / account.lines:.1%} of the lines of {account.part} are also in valid or test, and kept"
            console.print(f"{text}; --drop-held-out drops them")
    for side in (side for account in manifest.accounts for side in account.sides):
        if side.unknown > MANY_UNKNOWN * side.pieces:
            text = f"warning: {side.unknown / side.pieces:.2%} of the pieces of {side.path} are unknown; does the vocabulary suit it?"
            console.print(text, markup=False, soft_wrap=True, style="yellow")
    size, seconds = outcome.size / 1e6, outcome.seconds
    console.print(
        f"{config.destdir}: {size:,.1f} MB in {seconds:.1f} s ({size / seconds:.1f} MB/s)",
        markup=False,
        soft_wrap=True,
    )


def _report_tables(console: Console, folder: Path) -> None:
    """What labelled data there is, and what of it is odd."""
    from masscli.data.prepare.leaks import leaks
    from masscli.data.storage.data_folder import DataFolder

    data = DataFolder.open(folder)
    console.print(_examples(data))
    for entry in (entry for entry in data.manifest.tables if entry.format == "tsv"):
        odd = next((name for name in data.table(entry.name, entry.split).fields if _no_name(name)), None)
        if odd is not None:  # an example that is lost
            text = f"{entry.path}: the first line is taken for names of columns, {odd!r} for one; if it is an example, put names before it"
            console.print(f"warning: {text}", markup=False, soft_wrap=True, style="yellow")
    for leak in leaks(data):
        found = f"{leak.found:,} of the {leak.rows:,} examples of {leak.split}.{leak.table} are also in train.{leak.table}"
        console.print(f"warning: {found}, and kept", markup=False, soft_wrap=True, style="yellow")


def _examples(data: DataFolder) -> Table:
    """A row for each text of each table and split."""
    from rich.table import Table

    shown = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("table", "examples", "text", "pieces", "unknown"):
        shown.add_column(name, justify="left" if name in ("table", "text") else "right", no_wrap=True)
    kinds = {column.name: column.kind for column in data.manifest.columns}
    for entry in data.manifest.tables:
        columns = data.table(entry.name, entry.split).columns
        for field in (f for f in entry.fields if kinds[f.column] == "ids"):
            rows = [columns[field.name][row] for row in range(len(columns[field.name]))]
            pieces, unknown = sum(map(len, rows)), sum(int((row == data.vocab.unk).sum()) for row in rows)
            figures = (field.name.removesuffix(".ids"), f"{pieces:,}", f"{unknown / max(1, pieces):.3%}")
            shown.add_row(f"{entry.split}.{entry.name}", f"{entry.rows:,}", *figures)
    return shown


def _no_name(text: str) -> bool:
    """Whether what stands in a first line is a number, a sign, or as long as a sentence, rather than the name of a column."""
    return not any(c.isalpha() for c in text) or len(text.split()) > MANY_WORDS


def _figures(side: Side, kept: int) -> tuple[str, str, str, str]:
    """Language, pieces, pieces a line, share of unknown ones."""
    return (
        side.language,
        f"{side.pieces:,}",
        f"{side.pieces / max(1, kept):.1f}",
        f"{side.unknown / max(1, side.pieces):.3%}",
    )
