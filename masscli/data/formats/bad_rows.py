"""The policy for rows that cannot be read: refuse them, or skip, count and list them.

What a file has besides rows, such as comments, is counted as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.data.formats.column_checks import ColumnCheck

SKIP_ADVICE = "--bad-rows skip leaves such rows out, counts them and lists them"
"""The hint that `masscli preprocess` appends to the error about a bad row."""


class BadRow(NamedTuple):
    """A row that was skipped: its file, its line, and what is wrong with it.

    `line` is `Record.line`; of a sentence in CoNLL it is the first line that is broken.
    """

    path: str
    line: int
    reason: str


@dataclass
class BadRows:
    """The policy for the bad rows of one file, and the list of those that were skipped.

    `max_share` is the largest share of rows (0 to 1) that may be skipped; None refuses the first bad
    row with an error, to whose hint `advice` is appended. `checks` say what columns must contain; a row
    that violates one is a bad row, and `checked` has the names of the columns that were found. With
    `needs_answers`, a question without an answer is a bad row, unless it is marked as impossible.
    """

    max_share: float | None = None
    advice: str = ""
    checks: Sequence[ColumnCheck] = ()
    needs_answers: bool = False
    skipped: list[BadRow] = field(default_factory=list)
    checked: set[str] = field(default_factory=set)
    unread: Counter[str] = field(default_factory=Counter)
    """How often the file has something that is left out without being a row, such as a comment, by what it is
    called in the singular."""
    doubts: list[str] = field(default_factory=list)
    """Warnings about rows that were read, but perhaps not as they are meant."""

    @contextmanager
    def row(self, path: str, line: int) -> Iterator[None]:
        """Call `add` if the `with` block, which reads one row, raises a MasscliError.

        So the error ends here if bad rows are skipped, and is raised if they are refused.
        """
        try:
            yield
        except MasscliError as error:
            self.add(path, line, error)

    def add(self, path: str, line: int, error: MasscliError) -> None:
        """List a row as skipped because of `error`, or raise the error if bad rows are refused."""
        if self.max_share is None:
            parts = [part for part in (error.hint, self.advice) if part]
            raise MasscliError(error.message, "; ".join(parts) or None) from None
        # The location has separate columns in the log.
        reason = error.message.removeprefix(f"{path}:{line}: ").removeprefix(
            f"{path}: "
        )
        self.skipped.append(BadRow(path, line, reason))

    def unread_text(self) -> str:
        """Return what was left out without being a bad row, such as `2 comments, 1 blank line`."""
        return ", ".join(count_of(count, noun) for noun, count in self.unread.items())

    def check_share(self, path: str, kept: int) -> None:
        """Raise MasscliError if the skipped rows are more than `max_share` of all rows of a file.

        `kept` is the number of rows that were read. If bad rows are refused, there is nothing to check.
        """
        if self.max_share is None:
            return
        bad = len(self.skipped)
        rows = bad + kept
        if bad > self.max_share * rows:
            first = self.skipped[0]
            raise MasscliError(
                f"{path}: {bad:,} of {rows:,} rows are bad, the first in line {first.line}: {first.reason}",
                f"fix the file, or raise --max-bad-rows, which is {self.max_share:g}",
            )
