"""Messages to the user on standard error, where they do not mix with results."""

from __future__ import annotations

import sys


def warn(*texts: str) -> None:
    """Print warnings, one a line: the command goes on, but something is probably not as it was meant."""
    for text in texts:
        print(f"warning: {text}", file=sys.stderr)
