"""Encode a chunk of text: lines of a group of files in, token ids of the lines that are kept out.

Every function here is a pure one of its task, so that the result does not depend on the number of workers. Training lines
that are empty, too short, too long or too different in length, or that `filters` finds wrong, are dropped, and each is
listed in the log of dropped lines; lines of other splits are all kept.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.data.prepare.chunks import LineRange
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.drop_reasons import DropReason, Reasons, length_reasons, mark, unit_reasons
from masscli.data.prepare.filters import Survey, load_survey
from masscli.data.prepare.text_groups import Sides, TextGroup
from masscli.data.storage.columns import RowBlock, text_rows
from masscli.data.storage.manifest import FilterStats, SideStats
from masscli.text.corpus import display_path
from masscli.text.tokenizer import Tokenizer

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ChunkTask:
    """A chunk of a group: the same lines of each of its files, and all that is needed to encode them."""

    group: TextGroup
    ranges: tuple[LineRange, ...]
    config: PreprocessConfig
    folder: Path
    fingerprint: str
    ids_dtype: str
    survey_key: str
    """The key of the run that wrote the survey (see `filters`), empty if there is none."""


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """What a chunk has become."""

    group: TextGroup
    size: int
    """Bytes of text that were read."""
    columns: dict[str, RowBlock]
    """Rows to append, by column name."""
    document_breaks: list[int]
    """Numbers of stored rows before which a document ends."""
    filter_stats: tuple[FilterStats, ...]
    dropped_lines: str
    """Lines for the log of dropped lines."""


@dataclass(slots=True)
class _Unit:
    """The lines of a pair, or of monolingual text, with what is to become of them."""

    sides: Sides
    reasons: Reasons
    kept: Bools
    held_out: int = 0
    """How many kept lines are also in valid or test."""


def encode_chunk(task: ChunkTask) -> EncodedChunk:
    """Return the token ids of the lines of a chunk that are kept, and what became of the others."""
    tokenizer = _load_tokenizer(task.folder, task.fingerprint)
    group = task.group
    lines = [line_range.lines() for line_range in task.ranges]
    if len({len(side) for side in lines}) > 1:
        raise MasscliError(f"{group.paths[0]}: has changed while it was read", "run the same command again")
    is_blank = _blank_lines(group, lines)
    encoded = []
    for language, side_lines in zip(group.languages, lines, strict=True):
        ids, lengths = tokenizer.encode_flat(side_lines, language)
        encoded.append(RowBlock(ids.astype(task.ids_dtype), lengths))
    side_reasons = [length_reasons(side.lengths, task.config) for side in encoded]
    units = _judge_units(task, lines, encoded, side_reasons, is_blank)
    stored = [_stored_rows(side, units) for side in range(len(lines))]

    columns: dict[str, RowBlock] = {}
    for side, rows in enumerate(encoded):
        columns[group.column(side)] = _select_rows(rows, stored[side])
        if not group.is_training:
            kept_lines = [line for line, keep in zip(lines[side], stored[side], strict=True) if keep]
            columns[group.original_column(side)] = text_rows(kept_lines)
    if group.is_training and len(group.pairs) > 1:
        for unit in units:
            for side in unit.sides:
                rows_of_pair = np.flatnonzero(unit.kept[stored[side]]).astype(np.int64)
                block = RowBlock(rows_of_pair, np.array([len(rows_of_pair)], np.int32))
                columns[group.rows_column(unit.sides, side)] = block

    dropped: list[str] = []
    if group.is_training:
        for unit in units:
            dropped += _dropped_lines(task, unit, side_reasons, is_blank)
    return EncodedChunk(
        group=group,
        size=sum(line_range.size for line_range in task.ranges),
        columns=columns,
        document_breaks=np.cumsum(stored[0])[np.flatnonzero(is_blank)].tolist(),
        filter_stats=tuple(
            _filter_stats(group, unit, is_blank, encoded, tokenizer.vocab.unk) for unit in units
        ),
        dropped_lines="".join(dropped),
    )


@functools.lru_cache(1)
def _load_tokenizer(folder: Path, fingerprint: str) -> Tokenizer:
    """Return the tokenizer of a folder, loaded once by each process.

    The fingerprint is part of the key because another run may put another tokenizer into the same folder.
    """
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.vocab.fingerprint == fingerprint
    return tokenizer


def _blank_lines(group: TextGroup, lines: Sequence[Sequence[str]]) -> Bools:
    """Return which lines end a document: blank ones, in monolingual text only."""
    if group.pairs:
        return np.zeros(len(lines[0]), np.bool_)
    return np.array([not line.strip() for line in lines[0]], np.bool_)


def _judge_units(
    task: ChunkTask,
    lines: Sequence[Sequence[str]],
    encoded: Sequence[RowBlock],
    side_reasons: Sequence[Reasons],
    is_blank: Bools,
) -> list[_Unit]:
    """Decide which lines of each pair, or of monolingual text, are kept."""
    group = task.group
    units = []
    for sides in group.units:
        reasons = unit_reasons(
            [encoded[side] for side in sides], [side_reasons[side] for side in sides], task.config
        )
        units.append(_Unit(sides, reasons, kept=~is_blank))
    if not group.is_training:
        return units
    if task.survey_key:
        survey = load_survey(task.folder, task.survey_key)
        _apply_filters(task, survey, lines, units)
    for unit in units:
        unit.kept = (unit.reasons == DropReason.KEPT) & ~is_blank
    return units


def _apply_filters(
    task: ChunkTask, survey: Survey, lines: Sequence[Sequence[str]], units: Sequence[_Unit]
) -> None:
    """Mark rows that are of good length and wrong otherwise, and count those that are held out and kept."""
    group = task.group
    config = task.config
    count = len(lines[0])
    is_held_out = []
    is_other_language = []
    for language, side_lines in zip(group.languages, lines, strict=True):
        is_held_out.append(survey.is_held_out(language, side_lines))
        if config.filter_lang:
            is_other_language.append(survey.is_other_language(language, side_lines))
    for unit in units:
        if config.drop_copies and len(unit.sides) == 2:
            first, second = (lines[side] for side in unit.sides)
            copies = [a.strip() == b.strip() for a, b in zip(first, second, strict=True)]
            mark(unit.reasons, np.array(copies, np.bool_), DropReason.COPY)
        repeated = survey.is_repeated(group.unit_name(unit.sides), task.ranges[0].first_line, count)
        mark(unit.reasons, repeated, DropReason.REPEATED)
        if config.filter_lang:
            other_language = np.any([is_other_language[side] for side in unit.sides], axis=0)
            mark(unit.reasons, other_language, DropReason.OTHER_LANGUAGE)
        held_out = np.any([is_held_out[side] for side in unit.sides], axis=0)
        if config.drop_held_out:
            mark(unit.reasons, held_out, DropReason.HELD_OUT)
        unit.held_out = int((held_out & (unit.reasons == DropReason.KEPT)).sum())


def _stored_rows(side: int, units: Sequence[_Unit]) -> Bools:
    """Return which rows of a side are stored: those that any of its pairs keeps."""
    stored: Bools = np.any([unit.kept for unit in units if side in unit.sides], axis=0)
    return stored


def _select_rows(rows: RowBlock, selected: Bools) -> RowBlock:
    if selected.all():
        return rows
    return RowBlock(rows.values[np.repeat(selected, rows.lengths)], rows.lengths[selected])


def _filter_stats(
    group: TextGroup, unit: _Unit, is_blank: Bools, encoded: Sequence[RowBlock], unk: int
) -> FilterStats:
    """Count what became of the lines of a unit."""
    counts = np.bincount(unit.reasons[~is_blank], minlength=len(DropReason))
    suspicious = {}
    for reason in DropReason:
        if reason is not DropReason.KEPT and counts[reason]:
            suspicious[reason.label] = int(counts[reason])
    dropped: dict[str, int] = {}
    if group.is_training:
        dropped = suspicious
        suspicious = {}
        if unit.held_out:
            suspicious[DropReason.HELD_OUT.label] = unit.held_out
    side_stats = []
    for side in unit.sides:
        ids = _select_rows(encoded[side], unit.kept).values
        side_stats.append(
            SideStats(
                language=group.languages[side],
                path=display_path(group.paths[side]),
                pieces=len(ids),
                unknown=int(np.count_nonzero(ids == unk)),
            )
        )
    return FilterStats(
        group=group.unit_name(unit.sides),
        lines=len(is_blank),
        kept=int(unit.kept.sum()),
        document_breaks=int(is_blank.sum()),
        dropped=dropped,
        kept_but_suspicious=suspicious,
        sides=tuple(side_stats),
    )


def _dropped_lines(
    task: ChunkTask, unit: _Unit, side_reasons: Sequence[Reasons], is_blank: Bools
) -> list[str]:
    """Return a line of the log for each row that is dropped.

    It names the file whose line is at fault, or the first file if it takes both to see the fault.
    """
    group = task.group
    name = group.unit_name(unit.sides)
    log = []
    for row in np.flatnonzero((unit.reasons != DropReason.KEPT) & ~is_blank).tolist():
        at_fault = unit.sides[0]
        for side in unit.sides:
            if side_reasons[side][row] != DropReason.KEPT:
                at_fault = side
                break
        line = task.ranges[0].first_line + row + 1
        reason = DropReason(unit.reasons[row])
        log.append(f"{name}\t{line}\t{reason.label}\t{display_path(group.paths[at_fault])}\n")
    return log
