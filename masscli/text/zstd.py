"""Read files that are compressed with zstd, for which the standard library has nothing before Python 3.14."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from masscli.core.errors import MasscliError

INPUT_BYTES = 1 << 17
"""Compressed bytes that are read at once."""


class _Decompressed(io.RawIOBase):
    """The decompressed bytes of a file, which may consist of several frames, one after another.

    Reading raises EOFError if the file is damaged or ends within a frame. The reader of the package does not
    notice the latter.
    """

    def __init__(self, path: Path, decompressor: Any, error: type[Exception]) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  (closed with the reader)
        self._decompressor = decompressor
        self._error = error
        self._frame: Any = None
        self._input = b""
        self._output = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with the next bytes, and return their number; 0 is the end of the file."""
        while not self._output and self._read_input():
            self._decompress()
        view = memoryview(buffer)
        count = min(len(view), len(self._output))
        view[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _read_input(self) -> bool:
        """Read compressed bytes if there are none left, and return whether there are some."""
        if not self._input:
            self._input = self._file.read(INPUT_BYTES)
        if not self._input and self._frame is not None:
            raise EOFError("it ends too early")
        return bool(self._input)

    def _decompress(self) -> None:
        if self._frame is None:
            self._frame = self._decompressor.decompressobj()
        try:
            self._output = self._frame.decompress(self._input)
        except self._error as error:
            raise EOFError(str(error)) from None
        self._input = b""
        # What follows a frame belongs to the next one.
        if self._frame.eof:
            self._input = self._frame.unused_data
            self._frame = None


def open_zstd(path: Path, name: str) -> io.BufferedReader:
    """Open the decompressed bytes of a file, which messages call `name`.

    Raises MasscliError if the package zstandard is not installed.
    """
    try:
        import zstandard
    except ImportError:
        raise MasscliError(
            f"{name}: reading .zst needs the package zstandard", "pip install 'masscli[zstd]'"
        ) from None
    return io.BufferedReader(_Decompressed(path, zstandard.ZstdDecompressor(), zstandard.ZstdError))
