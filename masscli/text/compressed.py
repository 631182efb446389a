"""Read files that are compressed with zstd or xz.

The standard library does not support zstd before Python 3.14. Its xz reader ignores everything after a
damaged second stream, and takes minutes for zeros after the first one.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

from masscli.core.errors import MasscliError

INPUT_BYTES = 1 << 14
"""Number of compressed bytes that are read at once; xz may expand them by a factor of 7,000."""


class _Decompressed(io.RawIOBase):
    """A raw stream of the decompressed bytes of a file, which may consist of several frames in a row.

    Reading raises EOFError if the file is damaged or ends within a frame. (The stream reader of the package
    zstandard does not notice such an early end.)
    """

    def __init__(
        self,
        path: Path,
        begin_frame: Callable[[], Any],
        error: type[Exception],
        padding: bytes = b"",
    ) -> None:
        """Open the file.

        `begin_frame` returns a decompressor of one frame, such as a `lzma.LZMADecompressor`, and `error` is
        the exception that it raises for damaged data. The bytes in `padding` may stand between frames.
        """
        self._file = open(path, "rb")  # noqa: SIM115  (closed with the reader)
        self._begin_frame = begin_frame
        self._error = error
        self._padding = padding
        self._frame: Any = None
        self._num_frames = 0
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
        # Some input gives no output yet, and a result of 0 bytes would mean the end of the file.
        while not self._output and self._read_input():
            self._decompress()
        view = memoryview(buffer)
        count = min(len(view), len(self._output))
        view[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _read_input(self) -> bool:
        """Read more compressed bytes if none are left, and return whether there are any to decompress.

        Raises EOFError if the file ends within a frame, or before the first one.
        """
        is_at_end = False
        while not is_at_end:
            if self._frame is None and self._num_frames:
                self._input = self._input.lstrip(self._padding)
            if self._input:
                return True
            self._input = self._file.read(INPUT_BYTES)
            is_at_end = not self._input
        if self._frame is not None or not self._num_frames:
            raise EOFError("it ends too early")
        return False

    def _decompress(self) -> None:
        """Decompress all bytes that were read, up to the end of the current frame.

        Raises EOFError if the data is damaged.
        """
        if self._frame is None:
            self._frame = self._begin_frame()
        try:
            self._output = self._frame.decompress(self._input)
        except self._error as error:
            raise EOFError(str(error)) from None
        self._input = b""
        # The bytes after a frame belong to the next one.
        if self._frame.eof:
            self._input = self._frame.unused_data
            self._frame = None
            self._num_frames += 1


def open_zstd(path: Path, name: str) -> io.BufferedReader:
    """Open a zstd file for reading its decompressed bytes. `name` is how the error message calls the file.

    Raises MasscliError if the package zstandard is not installed.
    """
    try:
        import zstandard
    except ImportError:
        raise MasscliError(
            f"{name}: reading .zst needs the package zstandard",
            "pip install 'masscli[zstd]'",
        ) from None
    return io.BufferedReader(
        _Decompressed(
            path, zstandard.ZstdDecompressor().decompressobj, zstandard.ZstdError
        )
    )


def open_xz(path: Path) -> io.BufferedReader:
    """Open an xz file for reading its decompressed bytes; zeros may follow a stream, as the format allows."""

    def begin_stream() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ)

    return io.BufferedReader(
        _Decompressed(path, begin_stream, lzma.LZMAError, padding=b"\0")
    )
