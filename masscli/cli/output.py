"""Where results go: standard output, or a file that appears when all of it is there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.core.files import open_atomic


@contextmanager
def writer(path: Path, flag: str = "--output") -> Iterator[Callable[[str], object]]:
    """UTF-8, whatever the locale.  A file is written aside and appears when all of it is there; devices are written to directly."""
    if str(path) == "-":
        yield lambda text: sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
        return
    is_device = path.exists() and not path.is_file()
    with ExitStack() as stack:
        # Only a failure to open the file is the user's mistake.
        try:
            opened = open(path, "wb") if is_device else open_atomic(path)  # noqa: SIM115  (the stack closes it)
            file = stack.enter_context(opened)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise MasscliError(f"{flag} {path}: {error.strerror}") from None
        yield lambda text: file.write(text.encode())
