"""How preprocessing shows messages and progress."""

from __future__ import annotations

from typing import Protocol


class ProgressReporter(Protocol):
    """The interface through which a run shows messages and progress."""

    def note(self, text: str) -> None:
        """Show a message."""

    def warn(self, text: str) -> None:
        """Show a warning."""

    def start(self, what: str, total: int) -> None:
        """Begin to report progress on a task called `what`, which reads `total` bytes of text."""

    def advance(self, amount: int) -> None:
        """Report that `amount` more bytes of the task are done."""
