"""Read raw text files: open them, check them, and split them into lines.

A file may be plain, .gz, .xz or .zst; `-` is standard input. It must be strict UTF-8. A line ends at "\\n"
and nowhere else; one "\\r" before it is dropped, and so is a byte order mark at the start of the file. Errors
name file and line. Memory is bounded: files are read in blocks, and a line longer than about MAX_LINE_BYTES
is refused.
"""

from __future__ import annotations

import difflib
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError, cannot_be_read
from masscli.core.files import FileState, broken_link_hint, read_regular, sha256_of
from masscli.core.listing import list_some
from masscli.text.compressed import open_xz, open_zstd

BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 64 << 20
"""Maximum length of a line in bytes; a file with a longer line is refused, since it is probably not text."""
LINE_STRIDE = 256
"""Number of lines between two entries of FileScan.offsets."""
BOM = b"\xef\xbb\xbf"
SUFFIXES = ("", ".gz", ".xz", ".zst")
MARKUP_SUFFIXES = frozenset(
    (".sgm", ".sgml", ".xml", ".tmx", ".xlf", ".xliff", ".html", ".htm")
)
"""Suffixes of files that are marked up: test sets (see wmt_markup.py), translation memories, web pages."""
COMPRESSIONS = {".gz": "gzip", ".xz": "xz", ".zst": "zstd"}
"""The name of the compression of a file, by its suffix."""
_COMPRESSED_BEGINNINGS = {
    b"\x1f\x8b": ".gz",
    b"\xfd7zXZ\x00": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
}
"""The first bytes of compressed files (RFC 1952, the format of xz, RFC 8878), and how their names end."""
STDIN_COPY = ".stdin"
"""The name of a temporary file with a copy of standard input, for commands that read it twice."""
_SHOWN_NAMES = 8


@dataclass(frozen=True, slots=True)
class FileScan:
    """Information about a text file from reading it once: checksum, sizes, and positions of lines.

    It is used to detect whether a file has changed, and to find a line by its number. `state` is that of the
    file when reading began, and `text_size` the size of the decompressed text in bytes. `lines` is the number
    of lines, `inner_returns` that of carriage returns that end none, and `bom` says whether there is a
    byte order mark. `offsets` holds the byte offsets in the decompressed text at which every
    LINE_STRIDE-th line starts, and last the offset at which the text ends.
    """

    path: Path
    state: FileState
    sha256: str
    lines: int
    inner_returns: int
    text_size: int
    bom: bool
    offsets: NDArray[np.int64]


def display_path(path: Path) -> str:
    """Return the name of a file for messages: its path, or `-` for a copy of standard input."""
    if path.name == STDIN_COPY:
        return "-"
    return str(path)


def is_compressed(path: Path) -> bool:
    """Return whether a file is compressed, by its suffix. Lines of such a file cannot be found by seeking."""
    return path.suffix in COMPRESSIONS


def format_suffix(path: Path) -> str:
    """Return the last suffix of a file name that is not one of compression, in lower case, such as `.tsv`.

    Returns an empty string if there is none.
    """
    # Such as train.tsv.gz, which is read like train.tsv.
    suffixes = [suffix for suffix in path.suffixes if suffix not in SUFFIXES]
    return suffixes[-1].lower() if suffixes else ""


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, which may be compressed, for reading its decompressed bytes; `-` is standard input.

    Raises MasscliError if the file cannot be opened, or if standard input was read before.
    """
    if str(path) == "-":
        return _standard_input()
    # gzip.open is typed as text or binary; with "rb" it is binary.
    try:
        if path.suffix == ".gz":
            return cast(BinaryIO, gzip.open(path, "rb"))
        if path.suffix == ".xz":
            return open_xz(path)
        if path.suffix == ".zst":
            return open_zstd(path, display_path(path))
        return open(path, "rb")
    except FileNotFoundError:
        raise MasscliError(
            f"{display_path(path)}: no such file", missing_file_hint(path)
        ) from None
    except IsADirectoryError:
        raise MasscliError(
            f"{display_path(path)}: is a folder, expected a text file"
        ) from None
    except PermissionError:
        raise MasscliError(f"{display_path(path)}: may not be read") from None


def is_terminal() -> bool:
    """Return whether standard input is a terminal; one that the caller has closed is none."""
    return sys.stdin is not None and sys.stdin.isatty()


def _standard_input() -> BinaryIO:
    """Return the binary stream of standard input.

    Raises MasscliError if it is closed, or was read before.
    """
    # The caller may have closed it: `masscli ... <&-`.
    if sys.stdin is None:
        raise MasscliError(
            "standard input (-) is closed", "give a file, or leave it open"
        )
    # Standard input was closed by the code that read it first.
    if sys.stdin.buffer.closed:
        raise MasscliError(
            "standard input (-) is read twice", "give one of the two as a file"
        )
    return sys.stdin.buffer


def read_block(file: BinaryIO, size: int, path: Path) -> bytes:
    """Read up to `size` bytes from an open file, or all if `size` is -1.

    Fewer bytes are returned if a pipe or a terminal has no more yet, so that a line need not wait for the
    next. Raises MasscliError, which names `path`, if a compressed file is damaged, or if reading fails.
    """
    try:
        if size > 0 and isinstance(file, io.BufferedReader):
            return file.read1(size)
        return file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MasscliError(
            f"{display_path(path)}: not a whole {COMPRESSIONS.get(path.suffix, 'gzip')} file ({error})",
            "compress or fetch it again",
        ) from None
    except OSError as error:
        # Python names a file that cannot be opened, but not an open one that cannot be read.
        raise cannot_be_read(display_path(path), error) from None


def read_range(path: Path, offset: int, size: int) -> bytes:
    """Return `size` bytes of a file that is not compressed, from byte `offset`, or fewer at its end."""
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def iter_blocks(path: Path) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file in blocks of whole lines.

    A block is about BLOCK_BYTES long, or more if a line is longer. Only the last block may lack its final
    newline. Raises MasscliError if the file cannot be read, is marked up by its name, or has a line that is
    longer than MAX_LINE_BYTES.
    """
    # Tags would be learned and translated as words.
    if format_suffix(path) in MARKUP_SUFFIXES:
        raise MasscliError(
            f"{display_path(path)}: {format_suffix(path)} is markup and not lines of text",
            "take out its text, a segment on each line; if it is plain text, rename it",
        )
    with open_bytes(path) as file:
        incomplete_line = bytearray()
        line_number = 1
        while block := read_block(file, BLOCK_BYTES, path):
            # Hold back the text after the last newline until the next block completes it.
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
    """Decode a block of a file as strict UTF-8.

    `first_line` (from 1) is the number of the line at which the block starts, and `offset` its byte offset.
    Raises MasscliError, which names file and line, if the block is not UTF-8.
    """
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + block.count(b"\n", 0, error.start)
        byte = f"byte 0x{block[error.start]:02x} at offset {offset + error.start}"
        hint = "convert it, for example: iconv -f ENCODING -t UTF-8"
        if offset == 0:
            hint = _advice_on_beginning(block, path) or hint
        raise MasscliError(
            f"{display_path(path)}:{line}: not UTF-8 ({byte})", hint
        ) from None


def _advice_on_beginning(data: bytes, path: Path) -> str | None:
    """Return a hint by the first bytes of a file that is not UTF-8 text; None if they are not known."""
    # UTF-16 begins with its byte order mark.
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it looks like UTF-16, for example: iconv -f UTF-16 -t UTF-8"
    for beginning, suffix in _COMPRESSED_BEGINNINGS.items():
        if not data.startswith(beginning):
            continue
        if display_path(path) == "-":
            return f"it is compressed: {COMPRESSIONS[suffix]} -dc FILE | masscli ..."
        return f"it is compressed: give it a name that ends in {suffix}"
    if data.startswith((b"PK\x03\x04", b"BZh", b"7z\xbc\xaf")):
        return "it is an archive: unpack it first"
    return None


def decode_text(data: bytes, path: Path) -> str:
    """Decode the bytes of a whole file as strict UTF-8, and drop a byte order mark at its start.

    Raises MasscliError, which names file and line, if they are not UTF-8.
    """
    return decode_utf8(data, path, 1, 0).removeprefix("\ufeff")


def read_regular_text(path: Path) -> str:
    """Return the text of a regular file that is not compressed, without a byte order mark at its start.

    Raises MasscliError if it is a folder, a pipe or a device, or not UTF-8, and OSError if it cannot be read.
    """
    return decode_text(read_regular(path), path)


def read_text(path: Path) -> str:
    """Return the text of a whole file, which may be compressed, without a byte order mark at its start.

    Raises MasscliError if the file cannot be opened or is not UTF-8.
    """
    with open_bytes(path) as file:
        return decode_text(read_block(file, -1, path), path)


def split_lines(text: str) -> list[str]:
    """Return the lines of a text, each without its "\\n" and without one "\\r" before that.

    A "\\n" at the end of the text begins no further line.
    """
    if not text:
        return []
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    if "\r" in text:
        lines = [line.removesuffix("\r") for line in lines]
    return lines


def iter_lines(path: Path) -> Iterator[str]:
    """Yield every line of a file without its line end, as strict UTF-8; the file may be compressed.

    Raises MasscliError, which names file and line, if it cannot be read. The lines before one that is not
    UTF-8 are yielded first.
    """
    line_number = 1
    offset = 0
    for block in iter_blocks(path):
        try:
            text = decode_utf8(block, path, line_number, offset)
        except MasscliError:
            # How much of a pipe is one block depends on when it was written.
            yield from _split_text(_valid_beginning(block), offset)
            raise
        yield from _split_text(text, offset)
        line_number += block.count(b"\n")
        offset += len(block)


def _split_text(text: str, offset: int) -> list[str]:
    """Split the text of a block, which begins at the byte `offset` of its file, into lines."""
    if offset == 0:
        # Otherwise the mark would become an invisible letter of the first word.
        text = text.removeprefix("\ufeff")
    return split_lines(text)


def _valid_beginning(block: bytes) -> str:
    """Return the lines of a block before the first one that is not UTF-8."""
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError as error:
        return block[: block.rfind(b"\n", 0, error.start) + 1].decode("utf-8")


def scan_file(path: Path) -> FileScan:
    """Read a whole file once, and return its checksum, the number of its lines and where they are.

    Raises MasscliError if it is empty or not UTF-8.
    """
    offsets: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    newlines = 0
    inner_returns = 0
    offset = 0
    has_bom = False
    last_byte = b"\n"
    for block in iter_blocks(path):
        # Only for the error: the text itself is not needed yet.
        decode_utf8(block, path, newlines + 1, offset)
        if offset == 0:
            has_bom = block.startswith(BOM)
            # Not before, because opening gives better errors for what is no file.
            state = FileState.of(path)
        # Line n, from 0, starts after newline n - 1; keep those of every LINE_STRIDE-th line.
        newline_positions = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
        first = (LINE_STRIDE - 1 - newlines) % LINE_STRIDE
        offsets.append(newline_positions[first::LINE_STRIDE] + (offset + 1))
        newlines += len(newline_positions)
        inner_returns += block.count(b"\r") - block.count(b"\r\n")
        offset += len(block)
        last_byte = block[-1:]
    if offset == 0:
        raise MasscliError(
            f"{display_path(path)}: is empty", "give it some text, or leave it out"
        )
    # The end of the text is a further offset, unless a line of the stride would start exactly there.
    all_offsets = np.concatenate(offsets)
    if all_offsets[-1] != offset:
        all_offsets = np.append(all_offsets, offset)
    return FileScan(
        path=path,
        state=state,
        # The checksum is that of the file as it is, compressed or not.
        sha256=sha256_of(path),
        lines=newlines + (last_byte != b"\n"),
        inner_returns=inner_returns,
        text_size=offset,
        bom=has_bom,
        offsets=all_offsets,
    )


def missing_file_hint(path: Path) -> str:
    """Return a hint for the error that a file does not exist.

    It names a link that leads nowhere, or files with similar names in the folder.
    """
    broken_link = broken_link_hint(path)
    if broken_link is not None:
        return broken_link
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
    return f"in {path.parent} there is {list_some(similar, _SHOWN_NAMES)}"
