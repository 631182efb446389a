"""From `.partial` to a data folder: describe what was made, and put it in place so that a kill at any moment does no harm."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.core.files import acquire_lock, fsync_path, sha256_of
from masscli.data.formats.registry import input_files
from masscli.data.prepare.inputs import Labelled, Part
from masscli.data.prepare.resume_state import NAME as JOURNAL
from masscli.data.prepare.resume_state import Journal
from masscli.data.prepare.shard_builder import LEDGER
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.manifest import (
    MANIFEST_FILE,
    PARTIAL_FOLDER,
    ColumnEntry,
    FileEntry,
    InputEntry,
    Manifest,
    PairEntry,
    ShardEntry,
    TextEntry,
)
from masscli.text.corpus import STDIN_COPY, FileScan, display_path
from masscli.text.tokenizer import MODEL_FILE, TOKENIZER_FILE

LOCK = ".lock"
_OURS = re.compile(r".+\.\d{5}\.(bin|idx)|vocab\.model|tokenizer\.json|dropped\.tsv")
"""Names of files that may be removed when a folder is made anew."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a folder holds, in the terms of its manifest."""

    columns: tuple[ColumnEntry, ...]
    texts: tuple[TextEntry, ...]
    aligned: tuple[PairEntry, ...]
    files: tuple[FileEntry, ...]


def contents(
    folder: Path, parts: Sequence[Part], journal: Journal, more: Sequence[ColumnEntry] = ()
) -> Contents:
    """Name every column, say what it is, and take the checksum of every file."""
    rows = {name: sum(piece.rows for piece in state.finished) for name, state in journal.writers.items()}
    values = {name: sum(piece.values for piece in state.finished) for name, state in journal.writers.items()}
    kinds = {name: kind for part in parts for name, kind in part.columns().items()}
    texts, aligned = [], []
    for part in parts:
        for side, language in enumerate(part.languages):
            name, raw = part.column(side), None if part.training else part.raw_column(side)
            texts.append(
                TextEntry(
                    split=part.split, language=language, column=name, monolingual=not part.pairs, original=raw
                )
            )
        for pair in part.pairs:
            selection = [part.rows_column(pair, side) for side in pair]
            needed = [
                name in rows and values[name] < rows[part.column(side)]
                for name, side in zip(selection, pair, strict=True)
            ]
            for name, need in zip(selection, needed, strict=True):
                if not need:  # all rows of the side, in order: nothing to select
                    kinds.pop(name, None)
            a, b = pair
            aligned.append(
                PairEntry(
                    split=part.split, source=part.languages[a], target=part.languages[b], source_column=part.column(a),
                    target_column=part.column(b), source_rows=selection[0] if needed[0] else None,
                    target_rows=selection[1] if needed[1] else None,
                )
            )  # fmt: skip
    columns = tuple(
        ColumnEntry(
            name=name,
            kind=kind,
            shards=tuple(
                ShardEntry(name=p.file, rows=p.rows, values=p.values) for p in journal.writers[name].finished
            ),
        )
        for name, kind in kinds.items()
    ) + tuple(more)
    names = [
        f"{shard.name}{suffix}"
        for column in columns
        for shard in column.shards
        for suffix in (".bin", ".idx")
    ]
    files = tuple(
        FileEntry(name=n, size=(folder / n).stat().st_size, sha256=sha256_of(folder / n))
        for n in [MODEL_FILE, TOKENIZER_FILE, LEDGER, *names]
    )
    return Contents(columns, tuple(texts), tuple(aligned), files)


def inputs(
    parts: Sequence[Part], tables: Sequence[Labelled], scans: Mapping[Path, FileScan]
) -> tuple[InputEntry, ...]:
    """Every file that was read."""
    text = tuple(
        InputEntry(
            role=part.column(side),
            path=display_path(path),
            size=scans[path].size,
            sha256=scans[path].sha256,
            lines=scans[path].lines,
        )
        for part in parts
        for side, path in enumerate(part.paths)
    )
    return text + tuple(
        InputEntry(
            role=f"{t.split}.{t.name}",
            path=display_path(p),
            size=scans[p].size,
            sha256=scans[p].sha256,
            lines=scans[p].lines,
        )
        for t in tables
        for p in input_files(t.path, t.kind)
    )


def up_to_date(folder: Path, key: str, overwrite: bool) -> bool:
    """Whether there is nothing to do; a folder made of other text or with other settings is left alone unless `overwrite`."""
    if not (folder / MANIFEST_FILE).exists():
        return False
    try:
        made = DataFolder.open(folder).manifest
    except MasscliError:
        if overwrite:
            return False
        raise
    if made.input_fingerprint != key and not overwrite:
        hint = "give another --destdir, or --overwrite to replace it"
        raise MasscliError(f"{folder}: was made from other text or with other settings", hint)
    return made.input_fingerprint == key


def publish(partial: Path, folder: Path) -> None:
    """Move everything from `partial`, whose manifest is complete.  Done again after a kill, it ends the same."""
    files = [file.name for file in Manifest.read(partial).files]
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and (path.name not in files or (partial / path.name).exists()):
            path.unlink()
    for name in files:
        if (partial / name).exists():
            (partial / name).replace(folder / name)
    fsync_path(folder)
    (partial / MANIFEST_FILE).replace(folder / MANIFEST_FILE)
    fsync_path(folder)


def clean(folder: Path) -> None:
    """Remove what only an unfinished run needs."""
    shutil.rmtree(folder / PARTIAL_FOLDER, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only one who writes there.  What was made for nothing is removed again."""
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise MasscliError(f"--destdir {folder}: is not a folder") from None
    except FileNotFoundError:
        raise MasscliError(f"--destdir {folder}: cannot be made there") from None
    try:
        lock = acquire_lock(folder / LOCK)
    except BlockingIOError:
        raise MasscliError(
            f"{folder}: another masscli preprocess is writing there",
            "wait for it, or give another --destdir",
        ) from None
    with lock:
        try:
            yield
        finally:
            (folder / STDIN_COPY).unlink(missing_ok=True)
            if not (folder / PARTIAL_FOLDER / JOURNAL).exists():
                shutil.rmtree(folder / PARTIAL_FOLDER, ignore_errors=True)
            if new and [path.name for path in folder.iterdir()] == [LOCK]:
                shutil.rmtree(folder)
