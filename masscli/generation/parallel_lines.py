"""Lines that belong to those of the input one by one, such as references, and are read along with it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from masscli.core.errors import MasscliError
from masscli.core.listing import count_of

ONE_EACH = "it must have a line for each line of the input"


class ParallelLines:
    """A file with a line for each line of the input. It is read in parts, since it may exceed the memory.

    `flag` is the option that names the file, for errors.
    """

    def __init__(self, lines: Iterable[str], flag: str) -> None:
        self._lines = iter(lines)
        self._flag = flag
        self._num_taken = 0

    def take(self, count: int) -> list[str]:
        """Return the lines that belong to the next `count` lines of the input.

        Raises MasscliError if there are fewer.
        """
        taken = list(islice(self._lines, count))
        self._num_taken += len(taken)
        if len(taken) < count:
            raise MasscliError(
                f"{self._flag} has {count_of(self._num_taken, 'line')}, the input has more",
                ONE_EACH,
            )
        return taken

    def require_end(self) -> None:
        """Raise MasscliError if there are more lines, after the last line of the input."""
        if next(self._lines, None) is not None:
            raise MasscliError(
                f"{self._flag} has more lines than the input, which has {self._num_taken:,}",
                ONE_EACH,
            )
