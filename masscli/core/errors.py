"""The one exception a user is meant to see.

`MasscliError` is a mistake or a state of the world that the user can mend: it prints as one line and a hint,
and the process exits 2. Anything else that is raised is a bug of ours and keeps its traceback (exit 1).
"""

from __future__ import annotations


class MasscliError(Exception):
    """What went wrong, naming the file, line or flag, and what to do about it."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
