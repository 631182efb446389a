"""The one exception that a user is meant to see.

MasscliError is a mistake of the user, or a state of the world, that the user can mend. It is printed as one
line and a hint, and the process exits with 2. Any other exception is a bug of masscli; it keeps its
traceback, and the process exits with 1.
"""

from __future__ import annotations

import errno

NO_ROOM = {
    errno.ENOSPC: "make room, then run the same command again",
    errno.EDQUOT: "make room, then run the same command again",
    errno.EFBIG: "raise the limit of the size of files (ulimit -f), then run the same command again",
}
"""Errors of the operating system for files that have no room, with a hint for each."""


class MasscliError(Exception):
    """An error that the user can mend.

    `message` says what is wrong, and names the file, line or option; `hint` says what to do about it.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def cannot_be_written(place: str, error: OSError, hint: str) -> MasscliError:
    """Return the error that `place`, a file or folder as the user named it, cannot be written.

    `hint` says what to do where the place is the reason, such as to choose another one; on a full disk the
    hint is to make room.
    """
    reason = error.strerror or str(error)
    return MasscliError(
        f"{place}: cannot be written ({reason})", NO_ROOM.get(error.errno or 0, hint)
    )
