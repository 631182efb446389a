"""The one file format of data: a ragged column, in shards.

A shard is two files.  NAME.bin is nothing but values, little-endian.  NAME.idx is a header of 128 bytes (below), then rows + 1 int64
offsets into the values, then the rows at which a document starts.  The header declares what the values are, so token ids,
utf-8 text, labels and numbers are all columns; the fingerprint of the vocabulary ties ids to a tokenizer.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masscli.core.config import config
from masscli.core.errors import MasscliError

FORMAT = 1
MAGIC = b"masscli\x00"
HEADER = struct.Struct("<8sI4s12sQQQ44x32s")
"""magic, format, dtype, kind, rows, values, documents, (room), fingerprint."""
KINDS: dict[str, tuple[str, ...]] = {
    "ids": ("<u2", "<u4"),
    "text": ("|u1",),
    "float": ("<f8",),
    "int": ("<i8",),
}
"""What a column may hold, and as what."""


@dataclass(frozen=True)
class Shard:
    """One pair of files, mapped when first touched; travels to other processes as a path."""

    stem: Path
    kind: str
    rows: int
    fingerprint: str

    @cached_property
    def _header(self) -> tuple[str, int, int]:
        """dtype, number of values, number of documents; what the file says must be what the manifest says."""
        path = self.stem.with_name(self.stem.name + ".idx")
        with open(path, "rb") as file:
            raw = file.read(HEADER.size)
        if len(raw) < HEADER.size or raw[: len(MAGIC)] != MAGIC:
            raise MasscliError(f"{path}: is not an index of masscli")
        _, version, dtype, kind, rows, values, documents, fingerprint = HEADER.unpack(raw)
        if version != FORMAT:
            raise MasscliError(
                f"{path}: has format {version}, this masscli reads {FORMAT}", "run masscli preprocess again"
            )
        if (_text(kind), rows, fingerprint.hex()) != (self.kind, self.rows, self.fingerprint) or _text(
            dtype
        ) not in KINDS[self.kind]:
            raise MasscliError(f"{path}: does not belong to this folder", "run masscli preprocess again")
        expected = HEADER.size + 8 * (rows + 1 + documents)
        if path.stat().st_size != expected:
            raise MasscliError(
                f"{path}: has {path.stat().st_size} bytes instead of {expected}",
                "run masscli preprocess again",
            )
        return _text(dtype), values, documents

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each row starts, and at last where the values end."""
        return self._map(".idx", "<i8", self.rows + 1, HEADER.size)

    @cached_property
    def documents(self) -> NDArray[np.int64]:
        """Rows of this shard at which a document starts."""
        return self._map(".idx", "<i8", self._header[2], HEADER.size + 8 * (self.rows + 1))

    @cached_property
    def values(self) -> NDArray[Any]:
        """All rows, one after another."""
        return self._map(".bin", self._header[0], self._header[1], 0)

    def _map(self, suffix: str, dtype: str, count: int, start: int) -> NDArray[Any]:
        path = self.stem.with_name(self.stem.name + suffix)
        _ = self._header
        if path.stat().st_size < start + count * np.dtype(dtype).itemsize:
            raise MasscliError(f"{path}: is cut short", "run masscli preprocess again")
        # A plain array on the mapping: a row of a memmap takes three times as long to get.
        return np.memmap(path, dtype, "r", start, (count,)).view(np.ndarray) if count else np.zeros(0, dtype)

    def __getstate__(self) -> dict[str, object]:
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}


@config
class Piece:
    """What a writer says of a shard that it has finished."""

    file: str
    rows: int
    values: int


@config
class State:
    """How far a writer has come: the shards it has finished, and how much of the next one there is."""

    done: tuple[Piece, ...] = ()
    rows: int = 0
    values: int = 0
    documents: int = 0


class ResumeError(Exception):
    """A file is shorter than the state says: it cannot be gone on with."""


class Writer:
    """Appends rows to a column, shard after shard.  It can be put back to an earlier `state`, so that a killed run goes on from there.

    A shard ends before the row that would make it larger than `limit` bytes, wherever appends begin and end: the files depend on the rows
    alone.  Lengths and document starts wait in NAME.len and NAME.doc, which stay behind when a shard is done so that any earlier state can
    be gone back to.
    """

    MOST_ROWS = 1 << 24

    def __init__(
        self, stem: Path, kind: str, dtype: str, fingerprint: str, limit: int, state: State | None = None
    ) -> None:
        self.kind, self.dtype, self.fingerprint = kind, np.dtype(dtype), fingerprint
        self._stem, self._limit = stem, max(1, limit // self.dtype.itemsize)
        self.state = state or State()
        self._open()

    @property
    def rows(self) -> int:
        """Rows so far, in all shards."""
        return sum(piece.rows for piece in self.state.done) + self.state.rows

    def append(self, values: NDArray[Any], lengths: NDArray[np.int32], documents: Sequence[int] = ()) -> None:
        """Add rows: all their values, the length of each, and which of them (counted from the first of these) start a document."""
        ends = np.cumsum(lengths, dtype=np.int64)
        row = start = 0
        while row < len(lengths):
            now = self.state
            stop = int(np.searchsorted(ends, start + self._limit - now.values, "right"))
            stop = min(stop, row + self.MOST_ROWS - now.rows)
            if stop <= row and now.rows:
                self._close()
                self._open()
                continue
            stop = max(stop, row + 1)
            end = int(ends[stop - 1])
            here = np.array([now.rows + d - row for d in documents if row <= d < stop], "<i8")
            self._bin.write(values[start:end].astype(self.dtype, copy=False).tobytes())
            self._len.write(lengths[row:stop].astype("<i4", copy=False).tobytes())
            self._doc.write(here.tobytes())
            self.state = State(
                done=now.done,
                rows=now.rows + stop - row,
                values=now.values + end - start,
                documents=now.documents + len(here),
            )
            row, start = stop, end

    def flush(self) -> State:
        """Put everything on disk; the state to go on from."""
        for file in (self._bin, self._len, self._doc):
            file.flush()
            os.fsync(file.fileno())
        return self.state

    def finish(self) -> tuple[Piece, ...]:
        """Close the last shard."""
        self._close()
        return self.state.done

    def close(self) -> None:
        """Let go of the files; the column is not finished."""
        for file in (self._bin, self._len, self._doc):
            file.close()

    def _path(self, suffix: str) -> Path:
        return self._stem.with_name(f"{self._stem.name}.{len(self.state.done):05d}{suffix}")

    def _open(self) -> None:
        sizes = {
            ".bin": self.state.values * self.dtype.itemsize,
            ".len": self.state.rows * 4,
            ".doc": self.state.documents * 8,
        }
        for suffix, size in sizes.items():
            path = self._path(suffix)
            if size and (not path.exists() or path.stat().st_size < size):
                raise ResumeError(path)
        self._bin, self._len, self._doc = (open(self._path(suffix), "ab") for suffix in sizes)  # noqa: SIM115  (stay open until `close`)
        for file, size in zip((self._bin, self._len, self._doc), sizes.values(), strict=True):
            file.truncate(size)

    def _close(self) -> None:
        self.flush()
        self.close()
        now = self.state
        offsets = np.zeros(now.rows + 1, "<i8")
        np.cumsum(np.fromfile(self._path(".len"), "<i4"), out=offsets[1:])
        dtype, kind, fingerprint = (
            self.dtype.str.encode(),
            self.kind.encode(),
            bytes.fromhex(self.fingerprint),
        )
        with open(self._path(".idx"), "wb") as file:
            file.write(
                HEADER.pack(MAGIC, FORMAT, dtype, kind, now.rows, now.values, now.documents, fingerprint)
            )
            file.write(offsets.tobytes())
            file.write(self._path(".doc").read_bytes())
            file.flush()
            os.fsync(file.fileno())
        self.state = State(
            done=(*now.done, Piece(file=self._path("").name, rows=now.rows, values=now.values))
        )


def _text(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode("ascii", "replace")
