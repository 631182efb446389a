"""What becomes of rows that cannot be read: they are refused, or they are skipped, counted and listed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from masscli.core.errors import MasscliError

SKIP_ADVICE = "--bad-rows skip leaves such rows out, counts them and lists them"
"""What `masscli preprocess` adds to the hint about a bad row."""


class BadRow(NamedTuple):
    """A row that was skipped: its file, the line at which it starts, and what is wrong with it."""

    path: str
    line: int
    reason: str


@dataclass
class BadRows:
    """Collects the bad rows of one file; `max_share` is the largest share of them, None to refuse any.

    `advice` follows the hint of the error when a row is refused.
    """

    max_share: float | None = None
    advice: str = ""
    skipped: list[BadRow] = field(default_factory=list)

    @contextmanager
    def row(self, path: str, line: int) -> Iterator[None]:
        """Skip the row that the `with` block reads if it raises a MasscliError, or let the error pass."""
        try:
            yield
        except MasscliError as error:
            self.add(path, line, error)

    def add(self, path: str, line: int, error: MasscliError) -> None:
        """Note that a row is skipped because of `error`, or raise it if bad rows are refused."""
        if self.max_share is None:
            parts = [part for part in (error.hint, self.advice) if part]
            raise MasscliError(error.message, "; ".join(parts) or None) from None
        # The place has columns of its own in the log.
        reason = error.message.removeprefix(f"{path}:{line}: ").removeprefix(f"{path}: ")
        self.skipped.append(BadRow(path, line, reason))

    def check_share(self, path: str, kept: int) -> None:
        """Raise MasscliError if too many rows of a file were skipped; `kept` is the number of the others."""
        if self.max_share is None:
            return
        bad = len(self.skipped)
        rows = bad + kept
        if bad > self.max_share * rows:
            first = self.skipped[0]
            raise MasscliError(
                f"{path}: {bad:,} of {rows:,} rows are bad, the first in line {first.line}: {first.reason}",
                f"mend the file, or raise --max-bad-rows, which is {self.max_share:g}",
            )
