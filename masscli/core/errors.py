"""The one exception that a user is meant to see.

MasscliError is a mistake of the user, or a state of the world, that the user can mend. It is printed as one
line and a hint, and the process exits with 2. Any other exception is a bug of masscli; it keeps its
traceback, and the process exits with 1.
"""

from __future__ import annotations


class MasscliError(Exception):
    """An error that the user can mend.

    `message` says what is wrong, and names the file, line or option; `hint` says what to do about it.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
