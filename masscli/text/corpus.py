"""Raw text: open it, check it, cut it into lines.

A file is plain, .gz or .xz; `-` is standard input.  It is UTF-8, strictly, and a line ends at b"\\n" and nowhere else (one "\\r" before
it is dropped, and a byte order mark at the start of the file).  Whatever is wrong is named by file and line.  Memory is bounded: files are
read in blocks, and a line longer than `LONGEST` is refused.
"""

from __future__ import annotations

import difflib
import gzip
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

BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 64 << 20
"""Bytes of a line beyond which a file is not taken for text."""
LINE_STRIDE = 256
"""Lines between two entries of `Scan.offsets`."""
BOM = b"\xef\xbb\xbf"
SUFFIXES = ("", ".gz", ".xz")
STDIN_COPY = ".stdin"
"""The name of a file that holds standard input for those who read it twice."""


@dataclass(frozen=True, slots=True)
class FileScan:
    """What one reading of a file tells: enough to compare it, and to find any line of it again.

    `offsets` holds where, in the decompressed text, every `STRIDE`-th line starts, and at last where the text ends.
    """

    path: Path
    size: int
    sha256: str
    lines: int
    text_size: int
    bom: bool
    offsets: NDArray[np.int64]


def display_path(path: Path) -> str:
    """A path as the user gave it."""
    return "-" if path.name == STDIN_COPY else str(path)


def is_compressed(path: Path) -> bool:
    """Whether lines can only be found by reading from the start."""
    return path.suffix in (".gz", ".xz")


def open_bytes(path: Path) -> BinaryIO:
    """The decompressed bytes of a file, or standard input for `-`."""
    if str(path) == "-":
        if sys.stdin.buffer.closed:
            raise MasscliError("standard input (-) is read twice", "give one of the two as a file")
        return sys.stdin.buffer
    try:
        if path.suffix == ".gz":
            return cast(BinaryIO, gzip.open(path, "rb"))
        return cast(BinaryIO, lzma.open(path, "rb")) if path.suffix == ".xz" else open(path, "rb")
    except FileNotFoundError:
        raise MasscliError(f"{display_path(path)}: no such file", similar_names_hint(path)) from None
    except IsADirectoryError:
        raise MasscliError(f"{display_path(path)}: is a folder, expected a text file") from None
    except PermissionError:
        raise MasscliError(f"{display_path(path)}: may not be read") from None


def iter_blocks(path: Path) -> Iterator[bytes]:
    """Whole lines of a file, about `BLOCK` bytes at a time; only the last block may lack its final newline."""
    with open_bytes(path) as file:
        rest, line = b"", 1
        while block := read_block(file, BLOCK_BYTES, path):
            cut = block.rfind(b"\n") + 1
            if cut:
                yield rest + block[:cut]
                line += block.count(b"\n", 0, cut)
                rest = block[cut:]
            else:
                rest += block
                if len(rest) > MAX_LINE_BYTES:
                    raise MasscliError(
                        f"{display_path(path)}:{line}: a line of more than {MAX_LINE_BYTES >> 20} MiB",
                        "is it text? lines end in \\n",
                    )
        if rest:
            yield rest


def read_block(file: BinaryIO, size: int, path: Path) -> bytes:
    """Up to `size` bytes; a damaged archive is named."""
    try:
        return file.read(size)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        kind = "xz" if path.suffix == ".xz" else "gzip"
        raise MasscliError(
            f"{display_path(path)}: not a whole {kind} file ({error})", "compress or fetch it again"
        ) from None


def decode_utf8(block: bytes, path: Path, first_line: int, offset: int) -> str:
    """Strict UTF-8.  `first_line` (from 1) and `offset` say where in the file the block starts."""
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + block.count(b"\n", 0, error.start)
        where = offset + error.start
        hint = (
            "it looks like UTF-16"
            if offset == 0 and block[:2] in (b"\xff\xfe", b"\xfe\xff")
            else "convert it"
        )
        what = f"not UTF-8 (byte 0x{block[error.start]:02x} at offset {where})"
        raise MasscliError(
            f"{display_path(path)}:{line}: {what}", f"{hint}, for example: iconv -f ENCODING -t UTF-8"
        ) from None


def split_lines(text: str) -> list[str]:
    """The lines of some text, each without its "\\n" and without one "\\r" before that."""
    if not text:
        return []
    found = text.split("\n")
    if not found[-1]:
        found.pop()
    return [line.removesuffix("\r") for line in found] if "\r" in text else found


def iter_lines(path: Path) -> Iterator[str]:
    """Every line of a file."""
    line, offset = 1, 0
    for block in iter_blocks(path):
        text = decode_utf8(block, path, line, offset)
        yield from split_lines(text.removeprefix("\ufeff") if offset == 0 else text)
        line += block.count(b"\n")
        offset += len(block)


def scan_file(path: Path) -> FileScan:
    """Read a file once: digest, number of lines, where they are, and that all of it is UTF-8."""
    marks: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    newlines, offset, bom, last = 0, 0, False, b"\n"
    for block in iter_blocks(path):
        decode_utf8(block, path, newlines + 1, offset)
        bom = bom or (offset == 0 and block.startswith(BOM))
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
        marks.append(ends[(LINE_STRIDE - 1 - newlines) % LINE_STRIDE :: LINE_STRIDE] + (offset + 1))
        newlines += len(ends)
        offset += len(block)
        last = block[-1:]
    if offset == 0:
        raise MasscliError(f"{display_path(path)}: is empty", "give it some text, or leave it out")
    offsets = np.concatenate(marks)
    if offsets[-1] != offset:
        offsets = np.append(offsets, offset)
    return FileScan(
        path, path.stat().st_size, sha256_of(path), newlines + (last != b"\n"), offset, bom, offsets
    )


def similar_names_hint(path: Path) -> str | None:
    """A hint for a file that is not there: what is there under a similar name."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    names = sorted(p.name for p in path.parent.iterdir())
    stem = path.name.split(".")[0]
    there = [name for name in names if name.startswith(f"{stem}.")] or difflib.get_close_matches(
        path.name, names, 4
    )
    return (
        f"in {path.parent} there is {', '.join(there[:8])}"
        if there
        else f"nothing in {path.parent} has a name like it"
    )
