"""Parse numbers in text from outside, such as a downloaded file."""

from __future__ import annotations

import math

MAX_DIGITS = 18
"""Maximum number of digits; every number with so many fits into 64 bits."""


def parse_digits(text: str) -> int | None:
    """Return the value of 1 to `MAX_DIGITS` digits from 0 to 9, or None for any other text.

    `str.isdigit` accepts more than `int` does, such as the superscript 2, and `int` refuses more than 4,300
    digits.
    """
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS:
        return None
    return int(text)


def parse_number(text: str) -> float | None:
    """Return the finite number that a text is, with white space around it or not, or None for any other text.

    `float` accepts more: `1_5`, which is 15 to it, the digits of other scripts, `nan` and `inf`.
    """
    if not text.isascii() or "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
