"""Count things in a message, or name the first of many and count the rest."""

from __future__ import annotations

from collections.abc import Sequence


def list_some(names: Sequence[object], most: int, separator: str = ", ") -> str:
    """Return a text with the first `most` names and the number of the others: `3, 7 and 12 more`."""
    listed = separator.join(map(str, names[:most]))
    if len(names) <= most:
        return listed
    return f"{listed} and {len(names) - most} more"


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun in singular or plural, such as `1 column` or `3,000 columns`.

    The plural is the noun with an s, unless it is given.
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {plural or noun + 's'}"
