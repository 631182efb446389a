"""Read raw text files: open them, check them, and split them into lines.

A file is plain, .gz, .xz or .zst; `-` is standard input. It must be strict UTF-8. A line ends at "\\n" and
nowhere else; one "\\r" before it is dropped, and so is a byte order mark at the start of the file. Errors
name file and line. Memory is bounded: files are read in blocks, and a line longer than MAX_LINE_BYTES is
refused.
"""

from __future__ import annotations

import difflib
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.core.files import sha256_of
from masscli.text.zstd import open_zstd

BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 64 << 20
"""A file with a longer line is not taken for text."""
LINE_STRIDE = 256
"""Number of lines between two entries of FileScan.offsets."""
BOM = b"\xef\xbb\xbf"
SUFFIXES = ("", ".gz", ".xz", ".zst")
COMPRESSIONS = {".gz": "gzip", ".xz": "xz", ".zst": "zstd"}
"""What a file with one of these suffixes is compressed with."""
STDIN_COPY = ".stdin"
"""The name of a file that holds standard input for commands that read it twice."""
_SHOWN_NAMES = 8


@dataclass(frozen=True, slots=True)
class FileScan:
    """The result of reading a file once: checksum, sizes, and where its lines are.

    It serves to compare files, and to find any line again. `size` is that of the file, `text_size` that of
    the decompressed text, both in bytes. `offsets` holds where in the decompressed text every LINE_STRIDE-th
    line starts, and last where the text ends.
    """

    path: Path
    size: int
    sha256: str
    lines: int
    text_size: int
    bom: bool
    offsets: NDArray[np.int64]


def display_path(path: Path) -> str:
    """Return a path in the form in which messages show it."""
    if path.name == STDIN_COPY:
        return "-"
    return str(path)


def is_compressed(path: Path) -> bool:
    """Return whether a file is compressed, so that lines can only be found by reading from the start."""
    return path.suffix in COMPRESSIONS


def open_bytes(path: Path) -> BinaryIO:
    """Open the decompressed bytes of a file, or standard input for `-`.

    Raises MasscliError if the file cannot be opened, or if standard input was read before.
    """
    if str(path) == "-":
        return _standard_input()
    # gzip.open and lzma.open are typed as text or binary; with "rb" they are binary.
    try:
        if path.suffix == ".gz":
            return cast(BinaryIO, gzip.open(path, "rb"))
        if path.suffix == ".xz":
            return cast(BinaryIO, lzma.open(path, "rb"))
        if path.suffix == ".zst":
            return open_zstd(path, display_path(path))
        return open(path, "rb")
    except FileNotFoundError:
        raise MasscliError(f"{display_path(path)}: no such file", similar_names_hint(path)) from None
    except IsADirectoryError:
        raise MasscliError(f"{display_path(path)}: is a folder, expected a text file") from None
    except PermissionError:
        raise MasscliError(f"{display_path(path)}: may not be read") from None


def _standard_input() -> BinaryIO:
    """Return the bytes of standard input. Raises MasscliError if it is closed."""
    # The caller may have closed it: `masscli ... <&-`.
    if sys.stdin is None:
        raise MasscliError("standard input (-) is closed", "give a file, or leave it open")
    # Whoever read standard input first has closed it.
    if sys.stdin.buffer.closed:
        raise MasscliError("standard input (-) is read twice", "give one of the two as a file")
    return sys.stdin.buffer


def read_block(file: BinaryIO, size: int, path: Path) -> bytes:
    """Read up to `size` bytes, or all if it is -1. Raises MasscliError if a compressed file is damaged.

    With a size, what a pipe or a terminal has already is returned, so that a line need not wait for the next.
    """
    try:
        if size > 0 and isinstance(file, io.BufferedReader):
            return file.read1(size)
        return file.read(size)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise MasscliError(
            f"{display_path(path)}: not a whole {COMPRESSIONS.get(path.suffix, 'gzip')} file ({error})",
            "compress or fetch it again",
        ) from None


def read_range(path: Path, offset: int, size: int) -> bytes:
    """Return `size` bytes of a plain file from `offset`, or fewer if the file ends before."""
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def iter_blocks(path: Path) -> Iterator[bytes]:
    """Yield whole lines, about BLOCK_BYTES at a time. Only the last block may lack its final newline."""
    with open_bytes(path) as file:
        incomplete_line = bytearray()
        line_number = 1
        while block := read_block(file, BLOCK_BYTES, path):
            # Hold back what follows the last newline until the next block completes it.
            end = block.rfind(b"\n") + 1
            if end:
                yield bytes(incomplete_line) + block[:end]
                line_number += block.count(b"\n", 0, end)
                incomplete_line = bytearray(block[end:])
                continue
            incomplete_line += block
            # A binary file may have no newline at all, and would fill the memory.
            if len(incomplete_line) > MAX_LINE_BYTES:
                raise MasscliError(
                    f"{display_path(path)}:{line_number}: a line of more than {MAX_LINE_BYTES >> 20} MiB",
                    "is it text? lines end in \\n",
                )
        if incomplete_line:
            yield bytes(incomplete_line)


def decode_utf8(block: bytes, path: Path, first_line: int, offset: int) -> str:
    """Decode strict UTF-8.

    `first_line` (from 1) and `offset` say where in the file the block starts. Raises MasscliError, which
    names the line, if it is not UTF-8.
    """
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + block.count(b"\n", 0, error.start)
        # UTF-16 begins with its byte order mark.
        looks_like_utf16 = offset == 0 and block[:2] in (b"\xff\xfe", b"\xfe\xff")
        advice = "it looks like UTF-16" if looks_like_utf16 else "convert it"
        byte = f"byte 0x{block[error.start]:02x} at offset {offset + error.start}"
        raise MasscliError(
            f"{display_path(path)}:{line}: not UTF-8 ({byte})",
            f"{advice}, for example: iconv -f ENCODING -t UTF-8",
        ) from None


def decode_text(data: bytes, path: Path) -> str:
    """Return the text of a whole file, without a byte order mark at its start.

    This and `iter_lines` are how every text file is read. Raises MasscliError, which names the line, if it is
    not UTF-8.
    """
    return decode_utf8(data, path, 1, 0).removeprefix("\ufeff")


def read_text(path: Path) -> str:
    """Return the text of a file, which may be compressed; see `decode_text`.

    Raises MasscliError if it cannot be opened or is not UTF-8.
    """
    with open_bytes(path) as file:
        return decode_text(read_block(file, -1, path), path)


def split_lines(text: str) -> list[str]:
    """Return the lines of a text, each without its "\\n" and without one "\\r" before that."""
    if not text:
        return []
    lines = text.split("\n")
    # A newline at the end of the text begins no line.
    if not lines[-1]:
        lines.pop()
    if "\r" in text:
        lines = [line.removesuffix("\r") for line in lines]
    return lines


def iter_lines(path: Path) -> Iterator[str]:
    """Yield every line of a file."""
    line_number = 1
    offset = 0
    for block in iter_blocks(path):
        text = decode_utf8(block, path, line_number, offset)
        if offset == 0:
            # The mark is an invisible letter of the first word otherwise.
            text = text.removeprefix("\ufeff")
        yield from split_lines(text)
        line_number += block.count(b"\n")
        offset += len(block)


def scan_file(path: Path) -> FileScan:
    """Read a whole file: compute its checksum, count its lines and index them.

    Raises MasscliError if it is empty or not UTF-8.
    """
    offsets: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    newlines = 0
    offset = 0
    has_bom = False
    last_byte = b"\n"
    for block in iter_blocks(path):
        # Only for the error: the text itself is not needed yet.
        decode_utf8(block, path, newlines + 1, offset)
        if offset == 0:
            has_bom = block.startswith(BOM)
        # Line n, from 0, starts after newline n - 1; keep those of every LINE_STRIDE-th line.
        newline_positions = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
        first = (LINE_STRIDE - 1 - newlines) % LINE_STRIDE
        offsets.append(newline_positions[first::LINE_STRIDE] + (offset + 1))
        newlines += len(newline_positions)
        offset += len(block)
        last_byte = block[-1:]
    if offset == 0:
        raise MasscliError(f"{display_path(path)}: is empty", "give it some text, or leave it out")
    # The end of the text is an offset of its own, unless a line of the stride would start just there.
    all_offsets = np.concatenate(offsets)
    if all_offsets[-1] != offset:
        all_offsets = np.append(all_offsets, offset)
    return FileScan(
        path=path,
        size=path.stat().st_size,
        # The checksum is that of the file as it is, compressed or not.
        sha256=sha256_of(path),
        lines=newlines + (last_byte != b"\n"),
        text_size=offset,
        bom=has_bom,
        offsets=all_offsets,
    )


def similar_names_hint(path: Path) -> str:
    """Return a hint for a file that does not exist: files with similar names in its folder."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    names = sorted(entry.name for entry in path.parent.iterdir())
    # First the files that differ in the endings only, such as train.de.gz for train.de.
    stem = path.name.split(".")[0]
    similar = [name for name in names if name.startswith(f"{stem}.")]
    if not similar:
        similar = difflib.get_close_matches(path.name, names, 4)
    if not similar:
        return f"nothing in {path.parent} has a name like it"
    return f"in {path.parent} there is {', '.join(similar[:_SHOWN_NAMES])}"
