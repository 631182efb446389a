"""What a worker of `preprocess` does: some lines of a part in, ids of those that are kept out.

Chunks are cut by the text alone, never by the number of workers, and every function here is a pure one of its job.  Training lines that
are empty, too short, too long, too unlike in length, or that masscli/data/prepare/filters.py finds wrong, are dropped, each with a line in the
ledger; lines of other splits are all kept.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.data.prepare import filters
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.inputs import Part
from masscli.data.storage.columns import RowBlock
from masscli.data.storage.manifest import FilterStats, SideStats
from masscli.text import corpus
from masscli.text.corpus import LINE_STRIDE, FileScan, display_path
from masscli.text.moses import TextPreprocessing
from masscli.text.tokenizer import Tokenizer

CHUNK = 1 << 19
"""Bytes of text in a chunk, over all its sides, give or take a stride of lines."""
REASONS = (
    "",
    "empty",
    "too long",
    "too short",
    "ratio",
    "copy",
    "repeated",
    "other language",
    "in valid or test",
)
KEPT, EMPTY, LONG, SHORT, RATIO, COPY, REPEATED, FOREIGN, HELD = range(9)
Pair = tuple[int, int]
Fates = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Text:
    """Whole lines of a file: `size` bytes from `offset` of its text.  `data` is sent along where a file cannot be entered midway."""

    path: Path
    first: int
    offset: int
    size: int
    data: bytes | None

    def lines(self) -> list[str]:
        """The lines themselves."""
        data = self.data
        if data is None:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        if len(data) != self.size:
            raise MasscliError(
                f"{self.path}: has become shorter while it was read", "run the same command again"
            )
        text = corpus.decode_utf8(data, self.path, self.first + 1, self.offset)
        return corpus.split_lines(text.removeprefix("\ufeff") if self.offset == 0 else text)


@dataclass(frozen=True, slots=True)
class Job:
    """A chunk of a part: the same lines of each of its files."""

    part: Part
    texts: tuple[Text, ...]
    config: PreprocessConfig
    folder: Path
    fingerprint: str
    dtype: str
    survey: str
    """Key of the run that made the survey (see masscli/data/prepare/filters.py), empty where there is none."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a chunk has become: rows by column name, document breaks before which kept rows, one account for each pair, ledger lines."""

    part: Part
    size: int
    columns: dict[str, RowBlock]
    document_breaks: list[int]
    accounts: tuple[FilterStats, ...]
    ledger: str


def chunks(scans: Sequence[FileScan], skip: int = 0) -> Iterator[tuple[Text, ...]]:
    """Cut aligned files into chunks, leaving out the first `skip`."""
    with ExitStack() as stack:
        streams = {
            s.path: _Stream(stack.enter_context(corpus.open_bytes(s.path)), s.path)
            for s in scans
            if corpus.is_compressed(s.path)
        }
        for start, stop in islice(_bounds(scans), skip, None):
            yield tuple(_text(scan, start, stop, streams.get(scan.path)) for scan in scans)


def size_of(scans: Sequence[FileScan], count: int) -> int:
    """Bytes in the first `count` chunks."""
    last = max((stop for _, stop in islice(_bounds(scans), count)), default=0)
    return sum(int(scan.offsets[last]) for scan in scans)


def _bounds(scans: Sequence[FileScan]) -> Iterator[tuple[int, int]]:
    """Where chunks of about `CHUNK` bytes start and end, in strides."""
    total = np.sum([scan.offsets for scan in scans], axis=0)
    at = 0
    while at < len(total) - 1:
        stop = max(at + 1, int(np.searchsorted(total, total[at] + CHUNK, "right")) - 1)
        yield at, stop
        at = stop


def encode(job: Job) -> Result:
    """Ids of a chunk."""
    tokenizer = _tokenizer(job.folder, job.fingerprint)
    part, lines = job.part, [text.lines() for text in job.texts]
    if len({len(side) for side in lines}) > 1:
        raise MasscliError(f"{part.paths[0]}: has changed while it was read", "run the same command again")
    blank = (
        np.array([not line.strip() for line in lines[0]]) if not part.pairs else np.zeros(len(lines[0]), bool)
    )
    sides = [
        _side(tokenizer, side, language, job.dtype)
        for side, language in zip(lines, part.languages, strict=True)
    ]
    fates = [_fate(side.lengths, job.config) for side in sides]
    judged: list[tuple[Pair | None, Fates]] = [
        (pair, _pair_fate(sides, fates, pair, job.config)) for pair in part.pairs
    ]
    judged = judged or [(None, fates[0])]
    training = part.training
    held = _judge(job, lines, judged) if training and job.survey else {}
    stored = [~blank for _ in sides]
    if training:
        stored = [np.zeros(len(blank), bool) for _ in sides]
        for pair, fate in judged:
            for at in pair or (0,):
                stored[at] |= (fate == KEPT) & ~blank
    columns: dict[str, RowBlock] = {}
    accounts, ledger = [], []
    for n, side in enumerate(sides):
        columns[part.column(n)] = _select(side, stored[n])
        if not training:
            columns[part.raw_column(n)] = _raw(
                [line for line, keep in zip(lines[n], stored[n], strict=True) if keep]
            )
    for pair, fate in judged:
        kept = (fate == KEPT) & ~blank if training else ~blank
        accounts.append(_account(job, pair, fate, blank, kept, sides, tokenizer.vocab.unk, held.get(pair, 0)))
        if training:
            ledger += _dropped(job, pair, fate, blank, fates)
        if training and pair and len(part.pairs) > 1:
            for at in pair:
                rows = np.flatnonzero(kept[stored[at]]).astype(np.int64)
                columns[part.rows_column(pair, at)] = RowBlock(rows, np.array([len(rows)], np.int32))
    breaks = np.cumsum(stored[0])[np.flatnonzero(blank)].tolist() if not part.pairs else []
    return Result(
        part, sum(text.size for text in job.texts), columns, breaks, tuple(accounts), "".join(ledger)
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """Lines to train the vocabulary on: `rows`, counted from the first line of `text`."""

    text: Text
    language: str
    rows: NDArray[np.int64] | None
    surface: TextPreprocessing


def prepare(sample: Sample) -> list[str]:
    """Those lines, as SentencePiece is to see them; blank ones are left out."""
    lines = sample.text.lines()
    chosen = lines if sample.rows is None else [lines[row] for row in sample.rows.tolist()]
    return list(sample.surface.apply([line for line in chosen if line.strip()], sample.language))


class _Stream:
    """A compressed file, read from its start to its end once."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path, self._at = file, path, 0

    def take(self, offset: int, size: int) -> bytes:
        while self._at < offset:
            self._at += (
                len(corpus.read_block(self._file, min(corpus.BLOCK_BYTES, offset - self._at), self._path))
                or offset
            )
        found = corpus.read_block(self._file, size, self._path)
        self._at += len(found)
        return found


def _text(scan: FileScan, start: int, stop: int, stream: _Stream | None) -> Text:
    offset, end = int(scan.offsets[start]), int(scan.offsets[stop])
    data = stream.take(offset, end - offset) if stream else None
    return Text(scan.path, start * LINE_STRIDE, offset, end - offset, data)


@functools.lru_cache(1)
def _tokenizer(folder: Path, fingerprint: str) -> Tokenizer:
    """The tokenizer of a folder, loaded once by each process; another one may take its place there."""
    found = Tokenizer.load(folder)
    assert found.vocab.fingerprint == fingerprint
    return found


def _side(tokenizer: Tokenizer, lines: Sequence[str], language: str, dtype: str) -> RowBlock:
    ids, lengths = tokenizer.encode_flat(lines, language)
    return RowBlock(ids.astype(dtype), lengths)


def _fate(lengths: NDArray[np.int32], config: PreprocessConfig) -> Fates:
    found = np.full(len(lengths), KEPT, np.int8)
    found[lengths > config.max_len] = LONG
    found[lengths < config.min_len] = SHORT
    found[lengths == 0] = EMPTY
    return found


def _pair_fate(
    sides: Sequence[RowBlock], fates: Sequence[Fates], pair: Pair, config: PreprocessConfig
) -> Fates:
    """The first thing that speaks against a row of a pair."""
    found: Fates = np.where(fates[pair[0]] != KEPT, fates[pair[0]], fates[pair[1]])
    if config.max_ratio:
        a, b = (sides[side].lengths for side in pair)
        uneven = np.maximum(a, b) > config.max_ratio * np.minimum(a, b)
        found[uneven & (found == KEPT)] = RATIO
    return found


def _judge(
    job: Job, lines: Sequence[Sequence[str]], judged: Sequence[tuple[Pair | None, Fates]]
) -> dict[Pair | None, int]:
    """Mark rows that are clean of length and wrong otherwise; how many of the rest are held out and kept all the same."""
    part, config, where = job.part, job.config, (job.folder, job.survey)
    nothing, named = np.zeros(len(lines[0]), np.bool_), list(zip(part.languages, lines, strict=True))
    held = [filters.held_out(*where, language, side) for language, side in named]
    foreign = [
        filters.foreign(*where, language, side) if config.filter_lang else nothing for language, side in named
    ]
    left: dict[Pair | None, int] = {}
    for pair, fate in judged:
        sides = pair or (0,)
        copies = nothing
        if pair and config.drop_copies:
            copies = np.array(
                [a.strip() == b.strip() for a, b in zip(lines[pair[0]], lines[pair[1]], strict=True)]
            )
        again = filters.repeated(*where, part.account(pair), job.texts[0].first, len(nothing))
        out = np.any([held[side] for side in sides], 0)
        wrong = np.any([foreign[side] for side in sides], 0)
        for found, reason in (
            (copies, COPY),
            (again, REPEATED),
            (wrong, FOREIGN),
            (out & config.drop_held_out, HELD),
        ):
            fate[found & (fate == KEPT)] = reason
        left[pair] = int((out & (fate == KEPT)).sum())
    return left


def _select(side: RowBlock, keep: NDArray[np.bool_]) -> RowBlock:
    if keep.all():
        return side
    return RowBlock(side.values[np.repeat(keep, side.lengths)], side.lengths[keep])


def _raw(lines: Sequence[str]) -> RowBlock:
    encoded = [line.encode() for line in lines]
    return RowBlock(
        np.frombuffer(b"".join(encoded), np.uint8), np.fromiter(map(len, encoded), np.int32, len(encoded))
    )


def _account(
    job: Job,
    pair: Pair | None,
    fate: Fates,
    blank: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    sides: Sequence[RowBlock],
    unk: int,
    held: int,
) -> FilterStats:
    counts = np.bincount(fate[~blank], minlength=len(REASONS)).tolist()
    odd = {reason: count for reason, count in zip(REASONS[1:], counts[1:], strict=True) if count}
    figures = []
    for at in pair or (0,):
        ids = _select(sides[at], kept).values
        unknown = int(np.count_nonzero(ids == unk))
        figures.append(
            SideStats(
                language=job.part.languages[at],
                path=display_path(job.part.paths[at]),
                pieces=len(ids),
                unknown=unknown,
            )
        )
    training = job.part.training
    return FilterStats(
        group=job.part.account(pair), lines=len(blank), kept=int(kept.sum()), document_breaks=int(blank.sum()), dropped=odd if training else {},
        kept_but_suspicious=({REASONS[HELD]: held} if held else {}) if training else odd, sides=tuple(figures),
    )  # fmt: skip


def _dropped(
    job: Job, pair: Pair | None, fate: Fates, blank: NDArray[np.bool_], fates: Sequence[Fates]
) -> list[str]:
    """A ledger line for each row left out; the file is the one at fault, the first one where it takes two."""
    found = []
    for row in np.flatnonzero((fate != KEPT) & ~blank).tolist():
        at = (
            pair[1]
            if pair and fates[pair[0]][row] == KEPT and fates[pair[1]][row] != KEPT
            else (pair or (0,))[0]
        )
        found.append(
            f"{job.part.account(pair)}\t{job.texts[0].first + row + 1}\t{REASONS[fate[row]]}\t{display_path(job.part.paths[at])}\n"
        )
    return found
