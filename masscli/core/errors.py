"""The one exception that a user is meant to see.

MasscliError reports a user error, or an external problem, that the user can fix. It is printed as one
line and a hint, and the process exits with status 2. Any other exception is a bug in masscli; it keeps
its traceback, and the process exits with status 1.
"""

from __future__ import annotations

import errno

NO_ROOM = {
    errno.ENOSPC: "make room, then run the same command again",
    errno.EDQUOT: "make room, then run the same command again",
    errno.EFBIG: "raise the limit of the size of files (ulimit -f), then run the same command again",
}
"""Error numbers of the operating system that mean that the disk is full, with a hint for each."""

DISK_ERRORS = {
    **NO_ROOM,
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "name a folder, not a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "a link leads to itself: remove it",
    errno.EIO: "the disk reports an error: try another one",
    errno.ESTALE: "the disk of another machine does not answer: try again",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EACCES: "choose a place that may be written to and files that may be read",
    errno.EPERM: "choose a place that may be written to and files that may be read",
    errno.EROFS: "choose a place that may be written to",
}
"""Error numbers of the operating system that do not mean a bug in masscli, with a hint for each."""


class MasscliError(Exception):
    """An error that the user can fix.

    `message` says what is wrong, and names the file, line or option; `hint` says what to do about it.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def cannot_be_written(
    place: str, error: OSError, hint: str | None = None
) -> MasscliError:
    """Return the error that `place`, a file or folder as the user named it, cannot be written.

    `hint` says what to do if the place itself is the problem, such as to choose another one; if the
    disk is full, the hint is to make room instead. Without `hint`, the hint is that of `DISK_ERRORS`,
    if it has one for the error.
    """
    reason = error.strerror or str(error)
    number = error.errno or 0
    if number in NO_ROOM or hint is None:
        hint = DISK_ERRORS.get(number)
    return MasscliError(f"{place}: cannot be written ({reason})", hint)


def cannot_start_processes(option: str, error: OSError, without: str) -> MasscliError:
    """Return the error that a command cannot start the worker processes of `option`, such as `--workers 2`.

    `without` is the option of the command that needs no such process.
    """
    return MasscliError(
        f"{option}: cannot start processes ({error.strerror or error})",
        "is /dev/shm full or read-only, or the limit of processes or open files (ulimit) low? "
        f"{without} needs no such process",
    )


def note_failed_save(error: Exception, second: Exception) -> None:
    """Add to the error that ends a training run that the run could not be saved, because of a second error.

    The note is shown below the message of `error`, or below its traceback.
    """
    error.add_note(f"the updates since the last checkpoint are lost: {second}")


def cannot_be_read(place: str, error: OSError) -> MasscliError:
    """Return the error that `place`, an open file as the user named it, cannot be read."""
    hint = DISK_ERRORS.get(error.errno or 0, "give a file that can be read")
    return MasscliError(f"{place}: cannot be read ({error.strerror or error})", hint)
