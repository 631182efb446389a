"""Mutations of text by lines and columns, and of bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

PIECES = (
    "\t", " ", "  ", ",", '"', '""', "'", "\r", "\0", "\x85", "\u2028", "\u00a0", "\ufeff", "\u200b", "#", "# text = a", "-DOCSTART-",
    "1-2", "1.1", "_", "▁", "@@", "##", "</w>", "<unk>", "<s>", "[MASK]", "{", "}", "[", "]", "{}", "null", "nan", "inf", "-1", "0", "1e400",
    "9" * 5000, "x" * 5000, "é", "e\u0301", "𝔘", "B-X", "I-X", "O", "\ud800", "#version: 0.2", ":", "=", "\\", "\\u0000", "\\ud800",
)  # fmt: skip


def mutate_lines(draw: Random, data: bytes) -> tuple[bytes, str]:
    """Return changed text, and what was changed."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    action = draw.choice(ACTIONS)
    action(draw, lines, draw.randrange(len(lines)))
    # A lone surrogate of PIECES becomes bytes that are not UTF-8.
    return _encode("\n".join(lines)), action.__name__[1:]


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _delete_line(draw: Random, lines: list[str], number: int) -> None:
    del lines[number]


def _repeat_line(draw: Random, lines: list[str], number: int) -> None:
    lines.insert(draw.randrange(len(lines) + 1), lines[number])


def _swap_lines(draw: Random, lines: list[str], number: int) -> None:
    other = draw.randrange(len(lines))
    lines[number], lines[other] = lines[other], lines[number]


def _cut(draw: Random, lines: list[str], number: int) -> None:
    lines[number] = lines[number][: draw.randint(0, len(lines[number]))]
    del lines[number + 1 :]


def _insert(draw: Random, lines: list[str], number: int) -> None:
    place = draw.randint(0, len(lines[number]))
    lines[number] = lines[number][:place] + draw.choice(PIECES) + lines[number][place:]


def _insert_line(draw: Random, lines: list[str], number: int) -> None:
    lines.insert(number, draw.choice(("", *PIECES)))


def _replace_word(draw: Random, lines: list[str], number: int) -> None:
    separator = draw.choice((" ", "\t", ","))
    words = lines[number].split(separator)
    words[draw.randrange(len(words))] = draw.choice(("", *PIECES))
    lines[number] = separator.join(words)


def _drop_word(draw: Random, lines: list[str], number: int) -> None:
    separator = draw.choice((" ", "\t", ","))
    words = lines[number].split(separator)
    del words[draw.randrange(len(words))]
    lines[number] = separator.join(words)


def _other_word(draw: Random, lines: list[str], number: int) -> None:
    separator = draw.choice((" ", "\t", ","))
    words = lines[number].split(separator)
    words[draw.randrange(len(words))] = draw.choice(draw.choice(lines).split(separator))
    lines[number] = separator.join(words)


def _byte_order_mark(draw: Random, lines: list[str], number: int) -> None:
    lines[0] = "\ufeff" + lines[0]


def _windows_line_ends(draw: Random, lines: list[str], number: int) -> None:
    lines[:] = [f"{line}\r" for line in lines]


def _commas_for_tabs(draw: Random, lines: list[str], number: int) -> None:
    lines[:] = [line.replace("\t", ",") for line in lines]


def _numbers_are_zero(draw: Random, lines: list[str], number: int) -> None:
    lines[:] = [re.sub(r"[0-9]+", "0", line) for line in lines]


def _no_blank_lines(draw: Random, lines: list[str], number: int) -> None:
    times = draw.choice((1, 100))
    # A hundred times a hundred would only take time.
    kept = lines * times if len(lines) < 1000 else lines
    lines[:] = [line for line in kept if line.strip()]


def _first_line_only(draw: Random, lines: list[str], number: int) -> None:
    del lines[1:]


ACTIONS: tuple[Callable[[Random, list[str], int], None], ...] = (
    _delete_line, _repeat_line, _swap_lines, _cut, _insert, _insert, _insert, _insert_line, _replace_word, _replace_word, _drop_word,
    _other_word, _other_word, _commas_for_tabs, _numbers_are_zero, _no_blank_lines, _byte_order_mark, _windows_line_ends, _first_line_only,
)  # fmt: skip


def mutate_bytes(draw: Random, data: bytes) -> tuple[bytes, str]:
    """Return changed bytes, and what was changed."""
    place = draw.randint(0, len(data))
    size = draw.choice((1, 1, 4, 8, 100))
    match draw.randrange(6):
        case 0 if place < len(data):
            changed = bytearray(data)
            changed[place] ^= 1 << draw.randrange(8)
            return bytes(changed), f"flip a bit of byte {place}"
        case 1:
            return data[:place], f"cut at {place}"
        case 2:
            return data[:place] + draw.randbytes(size) + data[
                place:
            ], f"insert {size} bytes at {place}"
        case 3:
            return data[:place] + draw.randbytes(size) + data[
                place + size :
            ], f"replace {size} bytes at {place}"
        case 4:
            return data[:place] + data[
                place + size :
            ], f"delete {size} bytes at {place}"
    return data + data[place:], f"repeat the end from {place}"
