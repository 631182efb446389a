"""`masscli` and `python -m masscli`: run the command line and turn what it raises into a message and an exit code.

0 done · 1 our failure, with its traceback · 2 the user's mistake or a state of the machine, one line and a hint · 130 Ctrl-C · 141 the
reader of a pipe went away.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from masscli.core.errors import MasscliError

FULL_OR_FORBIDDEN = {
    errno.ENOSPC: "make room, then run the same command again",
    errno.EDQUOT: "make room, then run the same command again",
    errno.EACCES: "choose a place that may be written to and files that may be read",
    errno.EPERM: "choose a place that may be written to and files that may be read",
    errno.EROFS: "choose a place that may be written to",
}


KERNELS = "128"
"""Compiled CPU kernels that oneDNN keeps, one for each shape of a product.  Its own 1,024 are megabytes each; an update needs about 70."""


def main() -> None:
    """The entry point of both spellings."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", KERNELS)
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit code; what is raised is a bug."""
    try:
        from masscli.cli.app import dispatch

        code = dispatch(args)
        if sys.stdout is not None:  # closed by the caller: `masscli ... >&-`
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except MasscliError as error:
        return complain(error.message, error.hint)
    except BrokenPipeError:
        abandon_stdout()
        return 141
    except OSError as error:
        if error.errno not in FULL_OR_FORBIDDEN:
            raise
        abandon_stdout()
        where = f"{error.filename}: " if error.filename is not None else ""
        return complain(f"{where}{error.strerror}", FULL_OR_FORBIDDEN[error.errno])


def complain(message: str, hint: str | None) -> int:
    """One line for each mistake, then what to do about it."""
    for line in message.split("\n"):
        print(f"error: {line}", file=sys.stderr)
    if hint is not None:
        print(f"hint: {hint}", file=sys.stderr)
    return 2


def abandon_stdout() -> None:
    """Give up what standard output does not take, or the interpreter tries it again on its way out, and complains."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
