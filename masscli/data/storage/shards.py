"""The file format of data folders: a shard, which holds successive rows of a column.

A shard consists of two files. NAME.bin holds only the values of all rows, little-endian. NAME.idx holds
a header of 128 bytes, then rows + 1 int64 offsets into the values, then the int64 numbers of the rows
at which a document starts. The header says what the values are, so that token ids, UTF-8 text, labels
and numbers are all stored alike; the fingerprint of the vocabulary ties token ids to a tokenizer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
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
"""Magic, format, dtype, kind, number of rows, of values and of documents, 44 reserved bytes, fingerprint of
the vocabulary."""
DTYPES_OF_KIND: dict[str, tuple[str, ...]] = {
    "ids": ("<u2", "<u4"),
    "text": ("|u1",),
    "float": ("<f8",),
    "int": ("<i8",),
}
"""The kinds of columns, each with the numpy types in which its values may be stored."""
CHECK_BLOCK = 1 << 20
"""The number of offsets that are checked at a time."""
ID_BLOCK = 1 << 16
"""The number of token ids that are checked at a time."""
_HINT = "run masscli preprocess again"


def dtype_of(kind: str, ids_dtype: str) -> str:
    """Return the numpy type in which a column of this kind stores its values.

    `ids_dtype` is the type of token ids in this folder, which depends on the size of the vocabulary.
    """
    if kind == "ids":
        return ids_dtype
    return DTYPES_OF_KIND[kind][0]


@dataclass(frozen=True)
class Shard:
    """One shard: a pair of files that are mapped into memory when first used.

    Only its fields are pickled, so that another process maps the files itself. `stem` is the path of the
    files without suffix; `rows` and `fingerprint` (of the vocabulary) must agree with the header.
    """

    stem: Path
    kind: str
    rows: int
    fingerprint: str
    vocab_size: int | None = None
    """Number of pieces of the vocabulary. An id that is not below it is an error when it is read; None does
    not check ids."""
    num_values: int | None = None
    """Number of values according to the manifest; None does not check it."""

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """(rows + 1,) the index in `values` at which each row starts, and finally the number of values.

        Only the first and the last one are checked here. Raises MasscliError unless they are 0 and the number
        of values.
        """
        _, values, _ = self._header
        offsets = self._map(".idx", "<i8", self.rows + 1, HEADER.size)
        if offsets[0] != 0 or offsets[-1] != values:
            raise self._disorder()
        return offsets

    def span(self, row: int) -> tuple[int, int]:
        """Return where in `values` a row starts, and where it ends.

        Raises MasscliError if the offsets of this row are damaged.
        """
        start, stop = self.offsets[row : row + 2].tolist()
        if not 0 <= start <= stop <= self._num_values:
            raise self._disorder()
        return start, stop

    def lengths(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return the number of values of each row from `start` to `stop` - 1.

        The offsets are read from the file rather than through the mapping, so that a pass over a large index
        leaves no mapped pages behind. Raises MasscliError if they are damaged.
        """
        # The mapping is made anyway, because that checks the ends of the index.
        _ = self.offsets
        offset = HEADER.size + 8 * start
        with _naming_lost_file():
            offsets = np.fromfile(
                self._path(".idx"), "<i8", stop - start + 1, offset=offset
            )
        self.check_order(offsets[:-1], offsets[1:])
        return np.diff(offsets).astype(np.int32)

    def check_order(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> None:
        """Raise MasscliError unless each of N rows is within the values.

        `starts` and `stops` (N,) are the indices in `values` at which the rows start, and at which they end.
        """
        if (
            (starts < 0).any()
            or (starts > stops).any()
            or (stops > self._num_values).any()
        ):
            raise self._disorder()

    @cached_property
    def _num_values(self) -> int:
        """The number of values according to the checked header."""
        return self._header[1]

    def _disorder(self) -> MasscliError:
        """Return the error to raise for offsets that do not increase from 0 to the number of values."""
        return MasscliError(
            f"{self._path('.idx')}: is damaged (its offsets are not in order)", _HINT
        )

    @cached_property
    def document_starts(self) -> NDArray[np.int64]:
        """Sorted numbers of the rows of this shard at which a document starts.

        Raises MasscliError if they are not sorted, or not rows of this shard.
        """
        _, _, documents = self._header
        starts = self._map(".idx", "<i8", documents, HEADER.size + 8 * (self.rows + 1))
        is_valid = not documents or (starts[0] >= 0 and starts[-1] < self.rows)
        if not is_valid or not _is_sorted(starts):
            raise MasscliError(
                f"{self._path('.idx')}: is damaged (its documents are not in order)",
                _HINT,
            )
        return starts

    @cached_property
    def values(self) -> NDArray[Any]:
        """The values of all rows, one row after another, as a read-only view of the mapped file."""
        dtype, values, _ = self._header
        return self._map(".bin", dtype, values, 0)

    def check_ids(self, start: int, stop: int) -> None:
        """Raise MasscliError if a value from `start` to `stop` - 1 is an id beyond the vocabulary.

        Blocks of ID_BLOCK values are checked as a whole, so another value in the same block also raises
        it. Each block is checked only once, when it is first read: checking every row would take as
        long as reading it. Without `vocab_size` nothing is checked.
        """
        if self.vocab_size is None:
            return
        # The usual case, which needs no loop: a row within a block that was read before.
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
        """For each block of ID_BLOCK values, 1 if it is known to hold no id beyond the vocabulary, or 0."""
        return bytearray(len(self.values) // ID_BLOCK + 1)

    def check(self) -> None:
        """Raise MasscliError if the header is damaged, or does not agree with the sizes of the files."""
        _ = self._header

    @cached_property
    def _header(self) -> tuple[str, int, int]:
        """The dtype, the number of values and the number of documents, as read from the index file.

        Raises MasscliError if a file is damaged, or differs from what the manifest says of it.
        """
        path = self._path(".idx")
        with _naming_lost_file(), open(path, "rb") as file:
            raw = file.read(HEADER.size)
        if len(raw) < HEADER.size or raw[: len(MAGIC)] != MAGIC:
            raise MasscliError(f"{path}: is not a masscli index file")
        _, version, dtype_bytes, kind_bytes, rows, values, documents, fingerprint = (
            HEADER.unpack(raw)
        )
        if version != FORMAT:
            raise MasscliError(
                f"{path}: has format {version}, this masscli reads {FORMAT}", _HINT
            )
        dtype = _padded_text(dtype_bytes)
        described = (_padded_text(kind_bytes), rows, fingerprint.hex())
        if (
            described != (self.kind, self.rows, self.fingerprint)
            or dtype not in DTYPES_OF_KIND[self.kind]
        ):
            raise MasscliError(f"{path}: does not belong to this folder", _HINT)
        if self.num_values not in (None, values):
            raise MasscliError(f"{path}: does not belong to this folder", _HINT)
        # The size follows from the header, so a truncated index is noticed at once.
        size = path.stat().st_size
        expected = HEADER.size + 8 * (rows + 1 + documents)
        if size != expected:
            raise MasscliError(f"{path}: has {size} bytes instead of {expected}", _HINT)
        path = self._path(".bin")
        with _naming_lost_file():
            size = path.stat().st_size
        expected = values * np.dtype(dtype).itemsize
        if size != expected:
            raise MasscliError(f"{path}: has {size} bytes instead of {expected}", _HINT)
        return dtype, values, documents

    def _map(self, suffix: str, dtype: str, count: int, start: int) -> NDArray[Any]:
        """Map `count` values of the file with this suffix into memory, from byte `start`, and return them."""
        path = self._path(suffix)
        if count == 0:
            return np.zeros(0, dtype)
        # A plain array on the mapping: taking a row of a memmap is three times as slow.
        with _naming_lost_file():
            return np.memmap(path, dtype, "r", start, (count,)).view(np.ndarray)

    def _path(self, suffix: str) -> Path:
        return self.stem.with_name(self.stem.name + suffix)

    def __getstate__(self) -> dict[str, object]:
        # Cached properties are left out, so that no array is ever pickled.
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}


@contextmanager
def _naming_lost_file() -> Iterator[None]:
    """Turn the error that a file is missing into a MasscliError: it was there when the folder was opened."""
    try:
        yield
    except FileNotFoundError as error:
        raise MasscliError(
            f"{error.filename}: is gone; the data folder was removed, or made again, while it was in use",
            "the same command goes on when the folder is as it was",
        ) from None


def _is_sorted(numbers: NDArray[np.int64]) -> bool:
    """Return whether no number is below the one before it.

    Numbers are compared block by block, so that a large mapped file needs little memory.
    """
    for start in range(0, len(numbers), CHECK_BLOCK):
        # Each block begins with the last number of the one before.
        block = numbers[start : start + CHECK_BLOCK + 1]
        if (block[1:] < block[:-1]).any():
            return False
    return True


def _padded_text(padded: bytes) -> str:
    # A damaged header may hold any bytes; the comparison with the expected text then fails.
    return padded.rstrip(b"\0").decode("ascii", "replace")
