"""Name the first of many things in a message, and count the rest."""

from __future__ import annotations

from collections.abc import Sequence


def list_some(names: Sequence[object], most: int) -> str:
    """Return a text with the first `most` names and the number of the others: `3, 7 and 12 more`."""
    listed = ", ".join(map(str, names[:most]))
    if len(names) <= most:
        return listed
    return f"{listed} and {len(names) - most} more"
