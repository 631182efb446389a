"""Encode a chunk of text: turn the lines of a group of files into token ids of the kept lines.

The result depends only on the task, not on the number of workers. Training lines that are empty, too
short, too long or too different in length, or that `filters` rejects, are dropped, and each is listed
in the log of dropped lines. Lines of validation and test sets are all kept.
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
from masscli.data.prepare.drop_reasons import (
    DropReason,
    Reasons,
    length_reasons,
    mark,
    unit_reasons,
)
from masscli.data.prepare.filters import Survey, load_survey
from masscli.data.prepare.text_groups import Sides, TextGroup
from masscli.data.storage.columns import RowBlock, text_rows
from masscli.data.storage.manifest import FilterStats, SideStats
from masscli.text.corpus import display_path
from masscli.text.tokenizer import Tokenizer

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ChunkTask:
    """The same range of lines in each of the aligned files of a `TextGroup`, with all that encodes them.

    `folder` is the folder `.partial`, which holds the tokenizer and the survey (repeated and held-out lines
    and profiles of languages, see `filters`). `fingerprint` is that of the vocabulary, and `ids_dtype` the
    numpy type of token ids.
    """

    group: TextGroup
    ranges: tuple[LineRange, ...]
    config: PreprocessConfig
    folder: Path
    fingerprint: str
    ids_dtype: str
    survey_key: str
    """The fingerprint of the input for which the survey was written (see `filters`); empty if there is no
    survey."""


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """The encoded rows of a chunk, with statistics, and log entries of the lines that were dropped."""

    group: TextGroup
    size: int
    """The number of bytes of text in the chunk."""
    columns: dict[str, RowBlock]
    """The rows to append to each column, by the name of the column."""
    document_breaks: list[int]
    """Where documents end: for each blank line, the number of stored rows of this chunk before it."""
    filter_stats: tuple[FilterStats, ...]
    dropped_lines: str
    """Text to append to the log of dropped lines, with a line for each of them."""


@dataclass(slots=True)
class _Side:
    """The lines of one language in a chunk, with their token ids.

    `reasons` has, for each line, the reason to drop it that its own length gives, or KEPT.
    """

    language: str
    lines: list[str]
    rows: RowBlock
    reasons: Reasons


@dataclass(slots=True)
class _Unit:
    """Lines of a chunk that are kept or dropped together: those of a pair, or of monolingual text.

    `reasons` and `kept` have one entry for each line.
    """

    sides: Sides
    reasons: Reasons
    kept: Bools
    held_out: int = 0
    """The number of kept lines that are also in valid or test."""


def encode_chunk(task: ChunkTask) -> EncodedChunk:
    """Return the token ids of the kept lines of a chunk, with statistics and a log of dropped lines."""
    group = task.group
    tokenizer = _load_tokenizer(task.folder, task.fingerprint)
    sides = _encode_sides(task, tokenizer)
    is_blank = _document_breaks(group, sides)
    units = _judge_units(task, sides, is_blank)
    # A side that several pairs share is stored once, with every row that one of the pairs keeps.
    stored = []
    for side in range(len(sides)):
        kept_by_units = [unit.kept for unit in units if side in unit.sides]
        stored.append(np.any(kept_by_units, axis=0))
    filter_stats = []
    dropped: list[str] = []
    for unit in units:
        filter_stats.append(
            _count_lines(group, unit, sides, is_blank, tokenizer.vocab.unk)
        )
        if group.is_training:
            dropped += _log_dropped_lines(task, unit, sides, is_blank)
    return EncodedChunk(
        group=group,
        size=sum(line_range.size for line_range in task.ranges),
        columns=_stored_columns(group, sides, units, stored),
        # A blank line is not stored itself, so the rows counted up to it are those before it.
        document_breaks=np.cumsum(stored[0])[np.flatnonzero(is_blank)].tolist(),
        filter_stats=tuple(filter_stats),
        dropped_lines="".join(dropped),
    )


@functools.lru_cache(1)
def _load_tokenizer(folder: Path, fingerprint: str) -> Tokenizer:
    """Return the tokenizer of a folder; each process loads it once.

    The fingerprint of its vocabulary is part of the cache key, because another run may put another tokenizer
    into the same folder.
    """
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.vocab.fingerprint == fingerprint
    return tokenizer


def _encode_sides(task: ChunkTask, tokenizer: Tokenizer) -> list[_Side]:
    """Read and encode the lines of the chunk in every file of the group.

    Raises MasscliError if the files do not have equally many lines, because one has changed since it was
    scanned.
    """
    sides: list[_Side] = []
    for language, line_range in zip(task.group.languages, task.ranges, strict=True):
        lines = line_range.lines()
        # The lines were counted before, so the numbers differ only if a file has changed since.
        if sides and len(lines) != len(sides[0].lines):
            path = task.group.paths[0]
            raise MasscliError(
                f"{path}: has changed while it was read", "run the same command again"
            )
        ids, lengths = tokenizer.encode_flat(lines, language)
        rows = RowBlock(ids.astype(task.ids_dtype), lengths)
        sides.append(_Side(language, lines, rows, length_reasons(lengths, task.config)))
    return sides


def _document_breaks(group: TextGroup, sides: Sequence[_Side]) -> Bools:
    """Return (N,) for each line whether it ends a document: blank lines of monolingual text do.

    In pairs no line does.
    """
    # A blank line of a pair has lost its translation, and is counted as empty.
    if group.pairs:
        return np.zeros(len(sides[0].lines), np.bool_)
    return np.array([not line.strip() for line in sides[0].lines], np.bool_)


def _judge_units(
    task: ChunkTask, sides: Sequence[_Side], is_blank: Bools
) -> list[_Unit]:
    """Decide which lines of each pair, or of the monolingual text, are kept, and why the others are not.

    All lines of validation and test sets are kept, except blank lines between documents.
    """
    units = []
    for numbers in task.group.units:
        lengths = [sides[number].rows.lengths for number in numbers]
        side_reasons = [sides[number].reasons for number in numbers]
        reasons = unit_reasons(lengths, side_reasons, task.config)
        units.append(_Unit(numbers, reasons, kept=~is_blank))
    # Validation and test sets are kept complete, so that results are comparable with published ones.
    if not task.group.is_training:
        return units
    if task.survey_key:
        survey = load_survey(task.folder, task.survey_key)
        _apply_filters(task, survey, sides, units)
    for unit in units:
        unit.kept = (unit.reasons == DropReason.KEPT) & ~is_blank
    return units


def _apply_filters(
    task: ChunkTask, survey: Survey, sides: Sequence[_Side], units: Sequence[_Unit]
) -> None:
    """Apply all filters but those of length to training lines, and count kept lines that are also held out.

    It changes `reasons` and `held_out` of the units in place.
    """
    config = task.config
    # Each side is judged once, though several pairs may share it.
    is_held_out = []
    is_other_language = []
    for side in sides:
        is_held_out.append(survey.is_held_out(side.language, side.lines))
        if config.filter_lang:
            is_other_language.append(
                survey.is_other_language(side.language, side.lines)
            )
    for unit in units:
        if config.drop_copies and len(unit.sides) == 2:
            first, second = unit.sides
            mark(
                unit.reasons,
                _is_copy(sides[first].lines, sides[second].lines),
                DropReason.COPY,
            )
        name = task.group.unit_name(unit.sides)
        first_line = task.ranges[0].first_line
        repeated = survey.is_repeated(name, first_line, len(unit.reasons))
        mark(unit.reasons, repeated, DropReason.REPEATED)
        # A pair is dropped if one of its lines is in the wrong language or held out.
        if config.filter_lang:
            other_language = _marked_on_any(unit.sides, is_other_language)
            mark(unit.reasons, other_language, DropReason.OTHER_LANGUAGE)
        held_out = _marked_on_any(unit.sides, is_held_out)
        if config.drop_held_out:
            mark(unit.reasons, held_out, DropReason.HELD_OUT)
        unit.held_out = int((held_out & (unit.reasons == DropReason.KEPT)).sum())


def _is_copy(first: Sequence[str], second: Sequence[str]) -> Bools:
    """Return (N,) whether each line is the same in both languages, apart from white space around it."""
    copies = [a.strip() == b.strip() for a, b in zip(first, second, strict=True)]
    return np.array(copies, np.bool_)


def _marked_on_any(sides: Sides, marked: Sequence[Bools]) -> Bools:
    """Return (N,) for each row whether it is marked on at least one of the given sides.

    `marked` holds an array (N,) for each side of the group.
    """
    rows: Bools = np.any([marked[side] for side in sides], axis=0)
    return rows


def _stored_columns(
    group: TextGroup,
    sides: Sequence[_Side],
    units: Sequence[_Unit],
    stored: Sequence[Bools],
) -> dict[str, RowBlock]:
    """Return the rows to append to each column of the group, by the name of the column.

    `stored` says for each side which of its lines are stored.
    """
    columns: dict[str, RowBlock] = {}
    for number, side in enumerate(sides):
        columns[group.column(number)] = _select_rows(side.rows, stored[number])
        # The lines of validation and test sets are references for scoring.
        if not group.is_training:
            lines = [side.lines[row] for row in np.flatnonzero(stored[number]).tolist()]
            columns[group.original_column(number)] = text_rows(lines)
    # One pair keeps all stored rows; several must say which of them are theirs.
    if group.is_training and len(group.pairs) > 1:
        for unit in units:
            for number in unit.sides:
                row_numbers = np.flatnonzero(unit.kept[stored[number]]).astype(np.int64)
                block = RowBlock(row_numbers, np.array([len(row_numbers)], np.int32))
                columns[group.rows_column(unit.sides, number)] = block
    return columns


def _select_rows(rows: RowBlock, selected: Bools) -> RowBlock:
    """Return a block of only the selected rows; `selected` (rows,) says of each whether it is one."""
    # Most chunks are kept whole, and need no copy.
    if selected.all():
        return rows
    return RowBlock(
        rows.values[np.repeat(selected, rows.lengths)], rows.lengths[selected]
    )


def _count_lines(
    group: TextGroup, unit: _Unit, sides: Sequence[_Side], is_blank: Bools, unk: int
) -> FilterStats:
    """Return how many lines of a unit were kept and dropped, and how many pieces the kept ones have.

    `is_blank` (N,) says which lines only separate documents, and `unk` is the id that counts as unknown.
    """
    counts = np.bincount(unit.reasons[~is_blank], minlength=len(DropReason)).tolist()
    faults = {}
    for reason in DropReason:
        if reason is not DropReason.KEPT and counts[reason]:
            faults[reason.label] = counts[reason]
    # Lines of validation and test sets are never dropped, only counted.
    dropped = {}
    suspicious = faults
    if group.is_training:
        dropped = faults
        suspicious = {}
        # Without --drop-held-out such lines are kept, which the user should know.
        if unit.held_out:
            suspicious = {DropReason.HELD_OUT.label: unit.held_out}
    side_stats = []
    for number in unit.sides:
        ids = _select_rows(sides[number].rows, unit.kept).values
        side_stats.append(
            SideStats(
                language=sides[number].language,
                path=display_path(group.paths[number]),
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


def _log_dropped_lines(
    task: ChunkTask, unit: _Unit, sides: Sequence[_Side], is_blank: Bools
) -> list[str]:
    """Return an entry for the log of dropped lines for each line, or pair of lines, that is dropped.

    It names the group, the number of the line, the reason and a file: the second file of a pair if only the
    line there is empty, too short or too long, and the first file otherwise.
    """
    name = task.group.unit_name(unit.sides)
    labels = [reason.label for reason in DropReason]
    first, last = unit.sides[0], unit.sides[-1]
    first_path = display_path(task.group.paths[first])
    last_path = display_path(task.group.paths[last])
    first_is_good = sides[first].reasons == DropReason.KEPT
    only_last_is_bad = first_is_good & (sides[last].reasons != DropReason.KEPT)
    first_number = task.ranges[0].first_line + 1
    log = []
    for row in np.flatnonzero((unit.reasons != DropReason.KEPT) & ~is_blank).tolist():
        path = last_path if only_last_is_bad[row] else first_path
        log.append(
            f"{name}\t{first_number + row}\t{labels[unit.reasons[row]]}\t{path}\n"
        )
    return log
