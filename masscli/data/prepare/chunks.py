"""Divide aligned files into chunks of whole lines, which worker processes encode.

Chunks depend only on the text, never on the number of workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from masscli.core.errors import MasscliError
from masscli.text import corpus
from masscli.text.corpus import FileScan

CHUNK_BYTES = 1 << 19
"""Maximum number of bytes of text in a chunk, over all its files, unless `corpus.LINE_STRIDE` lines
have more: a chunk ends at a multiple of that many lines."""
SAMPLED_LINES = 500
"""Maximum number of lines in the sample of a language."""


@dataclass(frozen=True, slots=True)
class LineRange:
    """Successive whole lines of a file: `size` bytes from byte `offset` of its (decompressed) text.

    `first_line` is the number of the first of them, from 0. `data` holds the bytes of the lines if the file
    is compressed, so that it cannot be read from the middle; it is None for a plain file, which `lines`
    reads.
    """

    path: Path
    first_line: int
    offset: int
    size: int
    data: bytes | None

    def lines(self) -> list[str]:
        """Return the decoded lines, read from the file if necessary, without a byte order mark.

        Raises MasscliError if the file has become shorter, or is not UTF-8.
        """
        data = self.data
        if data is None:
            data = corpus.read_range(self.path, self.offset, self.size)
        if len(data) != self.size:
            raise MasscliError(
                f"{self.path}: has become shorter while it was read",
                "run the same command again",
            )
        text = corpus.decode_utf8(data, self.path, self.first_line + 1, self.offset)
        # The mark belongs to the file, not to its first word.
        if self.offset == 0:
            text = text.removeprefix("\ufeff")
        return corpus.split_lines(text)


def cut_chunks(
    scans: Sequence[FileScan], skip: int = 0
) -> Iterator[tuple[LineRange, ...]]:
    """Yield each chunk after the first `skip`: a tuple with a range of lines for each of the aligned files.

    `scans` are those of the files, in the order of the tuple.
    """
    with ExitStack() as stack:
        # A plain file is read by the workers; a compressed one cannot be read from the middle, so it is
        # read here, once.
        readers = {}
        for scan in scans:
            if corpus.is_compressed(scan.path):
                file = stack.enter_context(corpus.open_bytes(scan.path))
                readers[scan.path] = _CompressedReader(file, scan.path)
        for start, stop in islice(_chunk_bounds(scans), skip, None):
            ranges = []
            for scan in scans:
                ranges.append(_line_range(scan, start, stop, readers.get(scan.path)))
            yield tuple(ranges)


def count_chunks(scans: Sequence[FileScan]) -> int:
    """Return the number of chunks into which `cut_chunks` cuts aligned files."""
    return sum(1 for _ in _chunk_bounds(scans))


def text_bytes(scans: Iterable[FileScan]) -> int:
    """Return the total number of bytes of text in some files, decompressed."""
    return sum(scan.text_size for scan in scans)


def bytes_in_chunks(scans: Sequence[FileScan], count: int) -> int:
    """Return how many bytes of text, over all files, are in the first `count` chunks of aligned files."""
    last = 0
    for _, stop in islice(_chunk_bounds(scans), count):
        last = stop
    return sum(int(scan.offsets[last]) for scan in scans)


def _chunk_bounds(scans: Sequence[FileScan]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of each chunk of aligned files, as indices of `FileScan.offsets`."""
    # Aligned files have their offsets at the same lines.
    total_offsets = np.sum([scan.offsets for scan in scans], axis=0)
    start = 0
    while start < len(total_offsets) - 1:
        limit = total_offsets[start] + CHUNK_BYTES
        # A chunk has at least one stride of lines, however long these are.
        stop = max(start + 1, int(np.searchsorted(total_offsets, limit, "right")) - 1)
        yield start, stop
        start = stop


def _line_range(
    scan: FileScan, start: int, stop: int, reader: _CompressedReader | None
) -> LineRange:
    """Return the lines of a file between two of its offsets; `start` and `stop` are their indices.

    The lines of a compressed file are read from `reader`, which is None for a plain file.
    """
    offset = int(scan.offsets[start])
    size = int(scan.offsets[stop]) - offset
    data = None
    if reader is not None:
        data = reader.read(offset, size)
    return LineRange(scan.path, start * corpus.LINE_STRIDE, offset, size, data)


class _CompressedReader:
    """Reads a compressed file once, from its start to its end."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._position = 0

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from byte `offset` of the text, or fewer if the file has become shorter.

        `offset` must not be before the end of the last read.
        """
        while self._position < offset:
            count = min(corpus.BLOCK_BYTES, offset - self._position)
            skipped = corpus.read_block(self._file, count, self._path)
            # The file has become shorter, which `LineRange.lines` notices.
            if not skipped:
                break
            self._position += len(skipped)
        blocks = []
        # A block may be shorter than asked for, long before the end.
        while size > 0:
            block = corpus.read_block(self._file, size, self._path)
            if not block:
                break
            blocks.append(block)
            self._position += len(block)
            size -= len(block)
        return b"".join(blocks)


def sample_lines(scans: Sequence[FileScan]) -> list[str]:
    """Return up to SAMPLED_LINES lines of the first file, evenly spaced in its first chunk, no blank ones.

    Runs of white space between words become single spaces. Without a file the list is empty.
    """
    if not scans:
        return []
    (first_chunk,) = next(cut_chunks([scans[0]]))
    lines = first_chunk.lines()
    step = max(1, len(lines) // SAMPLED_LINES)
    return [
        " ".join(line.split()) for line in lines[::step][:SAMPLED_LINES] if line.strip()
    ]
