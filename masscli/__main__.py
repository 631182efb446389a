"""Run the command line of `masscli` and turn what it raises into a message and an exit code.

The exit code is 0 for success, 1 for a bug in masscli (with its traceback), 2 for a user error or a
state of the machine (one line and a hint), 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP, and 141 if
the reader of a pipe has gone.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence

from masscli.core import distributed
from masscli.core.errors import DISK_ERRORS, MasscliError
from masscli.core.standard_streams import replace_standard_streams
from masscli.core.stopping import (
    end_on_signals,
    kill_children,
    signal_of,
    stop_on_signals,
)

ONEDNN_CACHE_CAPACITY = "128"
"""Number of compiled CPU kernels that oneDNN caches, one for each shape of a matrix product. Each takes
megabytes, so the default of 1,024 is too many; an update needs about 70."""

GC_THRESHOLD = 20_000
"""By how many objects allocations exceed deallocations before Python looks for reference cycles. With
its default, 700, it looks hundreds of times while PyTorch and masscli are imported, which takes a
quarter of a second. Updates and searches do not create cycles, so memory does not grow."""

MAX_MESSAGE_LENGTH = 5000
"""The number of characters shown of each line of an error message; a path has at most 4,096."""

MEMORY_HINT = (
    "compute less at a time (--max-tokens, --batch-size, --beam, --workers), "
    "or take a smaller model"
)
"""Advice if there is not enough memory for a command, which may have only some of these options."""

KILLED_WORKER = "DataLoader worker (pid"
"""How PyTorch's error about a process that prepares batches begins, if that process was killed."""

WORKER_HINT = (
    "was there too little memory, or shared memory (/dev/shm) in a container? --num-workers 0 needs no such "
    "process; the same command goes on from the last checkpoint"
)
"""What to do if a process that prepares batches was killed."""

LATER_REPORT_SECONDS = 10
"""How long the other processes wait before they report a mistake of the user."""


def main() -> None:
    """Run the command line of the process, and exit."""
    gc.set_threshold(GC_THRESHOLD)
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", ONEDNN_CACHE_CAPACITY)
    replace_standard_streams()
    # A process among several may wait for the others in C++, where only the default action ends it.
    if distributed.world_size == 1:
        stop_on_signals()
    try:
        code = run(sys.argv[1:])
    finally:
        # A signal need not interrupt, with a traceback, what Python does at exit.
        end_on_signals()
        kill_children()
    sys.exit(code)


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit code; an exception that is not a user's mistake is a bug."""
    try:
        from masscli.cli.app import dispatch

        code = dispatch(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as stop:
        return _report_stop(stop)
    except MasscliError as error:
        return _report_mistake(error)
    except BrokenPipeError:
        return 141
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        return _report_disk_error(error, DISK_ERRORS[error.errno])
    except (MemoryError, RuntimeError) as error:
        if not _report_lack(error):
            raise
        return 2


def _report_stop(stop: KeyboardInterrupt) -> int:
    """Say that a signal has stopped the command, and return the exit code."""
    number = signal_of(stop)
    print(f"stopped by {number.name}", file=sys.stderr)
    return 128 + number


def _report_lack(error: BaseException) -> bool:
    """Print an error that means a lack of memory or a killed process; return whether it is such an error."""
    # Imported only now, because most commands do not need it.
    from masscli.core.memory import out_of_memory

    if str(error).startswith(KILLED_WORKER):
        report_error(
            _with_notes(
                f"a process that prepares batches has ended ({str(error).strip()})",
                error,
            ),
            WORKER_HINT,
        )
        return True
    if out_of_memory(error):
        report_error(_with_notes("there is not enough memory", error), MEMORY_HINT)
        return True
    return False


def _report_mistake(error: MasscliError) -> int:
    """Print the error, and return the exit code."""
    # The first process of torchrun encounters most mistakes as well. It reports them, and ends this
    # process. A process with a traceback must be able to print it.
    if distributed.rank > 0 or isinstance(error, distributed.OtherProcessError):
        time.sleep(LATER_REPORT_SECONDS)
    return report_error(_with_notes(error.message, error), error.hint)


def _report_disk_error(error: OSError, hint: str) -> int:
    """Print an error of the operating system about a file, and return the exit code."""
    message = str(error.strerror)
    if error.filename is not None:
        message = f"{error.filename}: {message}"
    return report_error(_with_notes(message, error), hint)


def _with_notes(message: str, error: BaseException) -> str:
    """Return a message about an error with the notes that were added to the error, each on a line."""
    # Python creates the list with the first note.
    return "\n".join([message, *getattr(error, "__notes__", ())])


def report_error(message: str, hint: str | None) -> int:
    """Print a line for each mistake, then the hint, and return the exit code."""
    for line in message.split("\n"):
        print(f"error: {_visible(line)}", file=sys.stderr)
    if hint is not None:
        print(f"hint: {_visible(hint)}", file=sys.stderr)
    return 2


def _visible(line: str) -> str:
    """Return a line with unprintable characters escaped, which a terminal would hide or interpret.

    Messages quote the contents of files, in which a line may have megabytes, so they are truncated to
    `MAX_MESSAGE_LENGTH` characters.
    """
    if len(line) > MAX_MESSAGE_LENGTH:
        line = line[:MAX_MESSAGE_LENGTH] + " [...]"
    shown = []
    for character in line:
        if character.isprintable():
            shown.append(character)
        else:
            shown.append(character.encode("unicode_escape").decode("ascii"))
    return "".join(shown)


if __name__ == "__main__":
    main()
