"""Read files that are compressed with zstd, for which the standard library has nothing before Python 3.14."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from masscli.core.errors import MasscliError

INPUT_BYTES = 1 << 17
"""The number of compressed bytes that are read from a file at once."""


class _Decompressed(io.RawIOBase):
    """A raw stream of the decompressed bytes of a zstd file, which may consist of several frames in a row.

    Reading raises EOFError if the file is damaged or ends within a frame. (The stream reader of the package
    zstandard does not notice such an early end.)
    """

    def __init__(self, path: Path, decompressor: Any, error: type[Exception]) -> None:
        """Open the file; `error` is the exception that the decompressor raises for damaged data."""
        self._file = open(path, "rb")  # noqa: SIM115  (closed with the reader)
        self._decompressor = decompressor
        self._error = error
        self._frame: Any = None
        self._input = b""
        self._output = b""

    def readable(self) -> bool:
        """Return True: the stream can be read."""
        return True

    def close(self) -> None:
        """Close the stream and the compressed file."""
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Copy the next decompressed bytes into `buffer`, and return their number; at the end it is 0."""
        while not self._output and self._read_input():
            self._decompress()
        view = memoryview(buffer)
        count = min(len(view), len(self._output))
        view[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _read_input(self) -> bool:
        """Read more compressed bytes if none are left, and return whether there are any to decompress.

        Raises EOFError if the file ends within a frame.
        """
        if not self._input:
            self._input = self._file.read(INPUT_BYTES)
        if not self._input and self._frame is not None:
            raise EOFError("it ends too early")
        return bool(self._input)

    def _decompress(self) -> None:
        """Decompress all bytes that were read, up to the end of the current frame.

        Raises EOFError if the data is damaged.
        """
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
    """Open a zstd file for reading its decompressed bytes. `name` is how the error message calls the file.

    Raises MasscliError if the package zstandard is not installed.
    """
    try:
        import zstandard
    except ImportError:
        raise MasscliError(
            f"{name}: reading .zst needs the package zstandard", "pip install 'masscli[zstd]'"
        ) from None
    return io.BufferedReader(_Decompressed(path, zstandard.ZstdDecompressor(), zstandard.ZstdError))
