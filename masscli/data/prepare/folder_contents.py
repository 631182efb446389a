"""Make the manifest entries that describe the columns and files of a data folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from masscli.core.files import sha256_of
from masscli.data.prepare.requested_inputs import LabeledFile
from masscli.data.prepare.text_groups import Sides, TextGroup
from masscli.data.storage.column_writer import WriterState
from masscli.data.storage.manifest import (
    ColumnEntry,
    FileEntry,
    InputEntry,
    PairEntry,
    ShardEntry,
    TextEntry,
)
from masscli.text.corpus import FileScan, display_path


def text_entries(groups: Sequence[TextGroup]) -> tuple[TextEntry, ...]:
    """Return a manifest entry for each side (file) of each group."""
    entries = []
    for group in groups:
        for side, language in enumerate(group.languages):
            # Original lines are references for scoring; training text does not need them.
            original = None
            if not group.is_training:
                original = group.original_column(side)
            entries.append(
                TextEntry(
                    split=group.split,
                    language=language,
                    column=group.column(side),
                    monolingual=not group.pairs,
                    original=original,
                )
            )
    return tuple(entries)


def pair_entries(
    groups: Sequence[TextGroup], writers: Mapping[str, WriterState]
) -> tuple[PairEntry, ...]:
    """Return a manifest entry for each pair of each group.

    `writers` are the final states of the column writers, by the name of the column.
    """
    entries = []
    for group in groups:
        for pair in group.pairs:
            source, target = pair
            entries.append(
                PairEntry(
                    split=group.split,
                    source=group.languages[source],
                    target=group.languages[target],
                    source_column=group.column(source),
                    target_column=group.column(target),
                    source_rows=_needed_rows_column(group, pair, source, writers),
                    target_rows=_needed_rows_column(group, pair, target, writers),
                )
            )
    return tuple(entries)


def column_entries(
    groups: Sequence[TextGroup], writers: Mapping[str, WriterState]
) -> tuple[ColumnEntry, ...]:
    """Return a manifest entry for each column of each group.

    Columns of row numbers are left out if the pair has all rows of the side. `writers` are the final states
    of the column writers, by the name of the column.
    """
    kinds: dict[str, str] = {}
    for group in groups:
        kinds |= group.column_kinds()
        for pair in group.pairs:
            for side in pair:
                # Row numbers that select every row are redundant; their files are not published.
                if _needed_rows_column(group, pair, side, writers) is None:
                    kinds.pop(group.rows_column(pair, side), None)
    entries = []
    for name, kind in kinds.items():
        shards = [
            ShardEntry(name=shard.file, rows=shard.rows, values=shard.values)
            for shard in writers[name].finished
        ]
        entries.append(ColumnEntry(name=name, kind=kind, shards=tuple(shards)))
    return tuple(entries)


def file_entries(
    folder: Path, columns: Sequence[ColumnEntry], other_files: Sequence[str]
) -> tuple[FileEntry, ...]:
    """Return a manifest entry, with size and checksum, for each of `other_files` and each file of a shard.

    All of them are in `folder`; the shards are those of `columns`.
    """
    entries = []
    for name in [*other_files, *_shard_files(columns)]:
        path = folder / name
        entries.append(
            FileEntry(name=name, size=path.stat().st_size, sha256=sha256_of(path))
        )
    return tuple(entries)


def input_entries(
    groups: Sequence[TextGroup],
    tables: Sequence[LabeledFile],
    scans: Mapping[Path, FileScan],
) -> tuple[InputEntry, ...]:
    """Return a manifest entry for every input file: text first, then files of labeled examples."""
    entries = []
    for group in groups:
        for side, path in enumerate(group.paths):
            entries.append(_input_entry(group.column(side), path, scans[path]))
    for labeled in tables:
        for path in labeled.files:
            entries.append(
                _input_entry(f"{labeled.split}.{labeled.table}", path, scans[path])
            )
    return tuple(entries)


def _needed_rows_column(
    group: TextGroup, pair: Sides, side: int, writers: Mapping[str, WriterState]
) -> str | None:
    """Return the name of the column that says which rows of a side belong to a pair.

    Returns None if there is no such column, or if the pair has all rows of the side, so that the column is
    not needed.
    """
    name = group.rows_column(pair, side)
    if name not in writers:
        return None
    # A pair that has as many rows as the side has all of them.
    selected = sum(shard.values for shard in writers[name].finished)
    rows = sum(shard.rows for shard in writers[group.column(side)].finished)
    if selected < rows:
        return name
    return None


def _shard_files(columns: Sequence[ColumnEntry]) -> Iterator[str]:
    for column in columns:
        for shard in column.shards:
            yield f"{shard.name}.bin"
            yield f"{shard.name}.idx"


def _input_entry(role: str, path: Path, scan: FileScan) -> InputEntry:
    """Return the manifest entry of one input file; `role` is the column or table that it is read for."""
    return InputEntry(
        role=role,
        path=display_path(path),
        size=scan.state.size,
        sha256=scan.sha256,
        lines=scan.lines,
    )
