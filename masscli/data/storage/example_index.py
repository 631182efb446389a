"""An index of examples that takes long to compute, and is cached in a file in the data folder.

Such an index is a table of integers with a row for each example. Its file is named by a digest of
everything that the index depends on, so that different data or options have different files. It is
stored in the data folder or, if that is not writable, in the user's cache. It may be deleted while
nothing is reading it, and is then computed again. It contains the rows followed by FOOTER, all as
little-endian numbers.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masscli.core.atomic_files import open_atomic
from masscli.core.errors import MasscliError
from masscli.data.storage.stamps import cache_folder

FOOTER = struct.Struct("<8sQ")
"""The end of a file, after the rows: MAGIC, and the number of rows."""
MAGIC = b"MASSIDX1"


INDEX_NAME = re.compile(r"\.[a-z]+-[0-9a-f]{32}")
"""Matches the name of an index file in a data folder: a dot, what it is an index of, and the digest.
Files with such names are removed when the folder is rebuilt."""


class ExampleIndex:
    """The rows of an index, in memory or in a file; `index[number]` is the row (columns,) of an example."""

    def __init__(self, rows: NDArray[Any], path: Path | None = None) -> None:
        """Take the rows (n, columns), which are mapped from the file `path` unless that is None."""
        self._rows = rows
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what pickle stores: for rows in a file only their location, since there may be many."""
        if self._path is None:
            return ExampleIndex, (self._rows,)
        return _read, (self._path, self._rows.shape[1], self._rows.dtype)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> NDArray[Any]:
        row: NDArray[Any] = self._rows[number]
        return row

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows `start` to `stop` - 1.

        They are read from the file rather than through the mapping, so that a pass over a large index leaves
        no mapped pages behind.
        """
        if self._path is None:
            rows: NDArray[Any] = self._rows[start:stop]
            return rows
        columns = self._rows.shape[1]
        size = columns * self._rows.itemsize
        values = np.fromfile(
            self._path, self._rows.dtype, (stop - start) * columns, offset=start * size
        )
        return values.reshape(-1, columns)


def open_index(
    folder: Path | None,
    name: str,
    columns: int,
    dtype: np.dtype[Any],
    make: Callable[[], Iterable[NDArray[np.int64]]],
) -> ExampleIndex:
    """Return the index called `name` from its file if that is complete; otherwise compute and store it.

    With a dot before it, `name` must match INDEX_NAME. `make` yields the index in parts, each (n,
    columns), and `dtype` is the type of its rows in the file. `folder` is the data folder; if it is
    None, or if neither it nor the user's cache is writable, the index is kept in memory.
    """
    paths = []
    if folder is not None:
        paths = [folder / f".{name}", *(cache / name for cache in cache_folder())]
    for path in paths:
        stored = _read(path, columns, dtype)
        if stored is not None:
            return stored
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, dtype, make())
        # Any error leads to the next location and, after the last one, to memory.
        except (OSError, MasscliError):
            continue
        stored = _read(path, columns, dtype)
        if stored is not None:
            return stored
    parts = [np.zeros((0, columns), dtype)]
    parts += [part.astype(dtype) for part in make()]
    return ExampleIndex(np.concatenate(parts))


def _read(path: Path, columns: int, dtype: np.dtype[Any]) -> ExampleIndex | None:
    """Return the index in a file, or None if there is no such file or it is incomplete."""
    try:
        with path.open("rb") as file:
            file.seek(-FOOTER.size, 2)
            magic, count = FOOTER.unpack(file.read())
    # A file that is shorter than the footer cannot be read from this offset.
    except OSError:
        return None
    size = count * columns * dtype.itemsize
    if magic != MAGIC or path.stat().st_size != size + FOOTER.size:
        return None
    # An empty file cannot be mapped.
    if not count:
        return ExampleIndex(np.zeros((0, columns), dtype))
    rows = np.memmap(path, dtype, "r", 0, (count, columns)).view(np.ndarray)
    return ExampleIndex(rows, path)


def _write(
    path: Path, dtype: np.dtype[Any], parts: Iterable[NDArray[np.int64]]
) -> None:
    """Write an index to a file part by part, so that memory does not grow with the number of its rows."""
    count = 0
    with open_atomic(path) as file:
        for part in parts:
            file.write(part.astype(dtype).tobytes())
            count += len(part)
        file.write(FOOTER.pack(MAGIC, count))
