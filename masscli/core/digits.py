"""Parse whole numbers in text from outside, such as a downloaded file."""

from __future__ import annotations

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
