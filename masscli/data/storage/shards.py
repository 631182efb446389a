"""The file format of data folders: a shard of a ragged column.

A shard is two files. NAME.bin holds only the values of all rows, little-endian. NAME.idx holds a header of
128 bytes, then rows + 1 int64 offsets into the values, then the numbers of the rows at which a document
starts. The header says what the values are, so that token ids, utf-8 text, labels and numbers are all stored
alike; the fingerprint of the vocabulary ties token ids to a tokenizer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError

FORMAT = 1
MAGIC = b"masscli\x00"
HEADER = struct.Struct("<8sI4s12sQQQ44x32s")
"""Magic, format, dtype, kind, number of rows, of values and of documents, 44 reserved bytes, fingerprint."""
DTYPES_OF_KIND: dict[str, tuple[str, ...]] = {
    "ids": ("<u2", "<u4"),
    "text": ("|u1",),
    "float": ("<f8",),
    "int": ("<i8",),
}
"""What a column may hold, and the numpy types that store it."""
CHECK_BLOCK = 1 << 20
"""Offsets that are checked at a time."""
ID_BLOCK = 1 << 16
"""Ids that are checked at a time."""
_HINT = "run masscli preprocess again"


def dtype_of(kind: str, ids_dtype: str) -> str:
    """Return the type of the values of a column; `ids_dtype` is that of token ids in this folder."""
    if kind == "ids":
        return ids_dtype
    return DTYPES_OF_KIND[kind][0]


@dataclass(frozen=True)
class Shard:
    """One shard: a pair of files that are mapped into memory when first used. It is pickled as a path."""

    stem: Path
    kind: str
    rows: int
    fingerprint: str
    vocab_size: int | None = None
    """Number of pieces of the vocabulary, beyond which no id is read; None allows all."""
    num_values: int | None = None
    """Number of values that the manifest gives."""

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """(rows + 1,) where each row starts in the values, and finally where they end.

        Raises MasscliError unless they increase from 0 to the number of values.
        """
        _, values, _ = self._header
        offsets = self._map(".idx", "<i8", self.rows + 1, HEADER.size)
        is_valid = offsets[0] == 0 and offsets[-1] == values
        if not is_valid or not _is_sorted(offsets):
            raise MasscliError(f"{self._path('.idx')}: is damaged (its offsets are not in order)", _HINT)
        return offsets

    @cached_property
    def document_starts(self) -> NDArray[np.int64]:
        """Rows of this shard at which a document starts."""
        _, _, documents = self._header
        starts = self._map(".idx", "<i8", documents, HEADER.size + 8 * (self.rows + 1))
        is_valid = not documents or (starts[0] >= 0 and starts[-1] < self.rows)
        if not is_valid or not _is_sorted(starts):
            raise MasscliError(f"{self._path('.idx')}: is damaged (its documents are not in order)", _HINT)
        return starts

    @cached_property
    def values(self) -> NDArray[Any]:
        """The values of all rows, one after another."""
        dtype, values, _ = self._header
        return self._map(".bin", dtype, values, 0)

    def check_ids(self, start: int, stop: int) -> None:
        """Raise MasscliError if some of the values from `start` to `stop` are ids beyond the vocabulary.

        Values are checked a block at a time, and each block once, when it is first read: to check every row
        would take as long as reading it.
        """
        if self.vocab_size is None:
            return
        # The usual case, without a loop: a row within a block that was read before.
        first = start // ID_BLOCK
        if self._checked_blocks[first] and stop <= (first + 1) * ID_BLOCK:
            return
        for block in range(first, (stop + ID_BLOCK - 1) // ID_BLOCK):
            if self._checked_blocks[block]:
                continue
            largest = self.values[block * ID_BLOCK : (block + 1) * ID_BLOCK].max()
            if largest >= self.vocab_size:
                raise MasscliError(
                    f"{self._path('.bin')}: is damaged (it has the id {largest}, and the vocabulary has "
                    f"{self.vocab_size} pieces)",
                    _HINT,
                )
            self._checked_blocks[block] = 1

    @cached_property
    def _checked_blocks(self) -> bytearray:
        """Which blocks of values have been found to hold no id beyond the vocabulary."""
        return bytearray(len(self.values) // ID_BLOCK + 1)

    def check(self) -> None:
        """Raise MasscliError if the header is damaged, or does not agree with the sizes of the files."""
        _ = self._header

    @cached_property
    def _header(self) -> tuple[str, int, int]:
        """The dtype, the number of values and the number of documents.

        Raises MasscliError when the file is damaged or differs from what the manifest says of it.
        """
        path = self._path(".idx")
        with open(path, "rb") as file:
            raw = file.read(HEADER.size)
        if len(raw) < HEADER.size or raw[: len(MAGIC)] != MAGIC:
            raise MasscliError(f"{path}: is not a masscli index file")
        _, version, dtype_bytes, kind_bytes, rows, values, documents, fingerprint = HEADER.unpack(raw)
        if version != FORMAT:
            raise MasscliError(f"{path}: has format {version}, this masscli reads {FORMAT}", _HINT)
        dtype = _padded_text(dtype_bytes)
        described = (_padded_text(kind_bytes), rows, fingerprint.hex())
        if described != (self.kind, self.rows, self.fingerprint) or dtype not in DTYPES_OF_KIND[self.kind]:
            raise MasscliError(f"{path}: does not belong to this folder", _HINT)
        if self.num_values not in (None, values):
            raise MasscliError(f"{path}: does not belong to this folder", _HINT)
        # The size follows from the header, so that an index that was cut short is noticed at once.
        size = path.stat().st_size
        expected = HEADER.size + 8 * (rows + 1 + documents)
        if size != expected:
            raise MasscliError(f"{path}: has {size} bytes instead of {expected}", _HINT)
        path = self._path(".bin")
        size = path.stat().st_size
        expected = values * np.dtype(dtype).itemsize
        if size != expected:
            raise MasscliError(f"{path}: has {size} bytes instead of {expected}", _HINT)
        return dtype, values, documents

    def _map(self, suffix: str, dtype: str, count: int, start: int) -> NDArray[Any]:
        """Return `count` values of a file, from byte `start`."""
        path = self._path(suffix)
        if count == 0:
            return np.zeros(0, dtype)
        # A plain array on the mapping: taking a row of a memmap is three times as slow.
        return np.memmap(path, dtype, "r", start, (count,)).view(np.ndarray)

    def _path(self, suffix: str) -> Path:
        return self.stem.with_name(self.stem.name + suffix)

    def __getstate__(self) -> dict[str, object]:
        # Cached properties are left out, so that no array is ever pickled.
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}


def _is_sorted(numbers: NDArray[np.int64]) -> bool:
    """Return whether no number is below the one before it, without making a copy of them all."""
    for start in range(0, len(numbers), CHECK_BLOCK):
        # Each block begins with the last number of the one before.
        block = numbers[start : start + CHECK_BLOCK + 1]
        if (block[1:] < block[:-1]).any():
            return False
    return True


def _padded_text(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode("ascii", "replace")
