"""Where results go: standard output, or a file that appears when all of it is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from masscli.core.errors import MasscliError


@contextmanager
def writer(path: Path, flag: str = "--output") -> Iterator[Callable[[str], object]]:
    """UTF-8, whatever the locale.  A file is written aside and appears when all of it is there; devices are written to directly."""
    if str(path) == "-":
        yield lambda text: sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
        return
    aside = path.with_name(f".{path.name}.new") if path.is_file() or not path.exists() else path
    try:
        file = open(aside, "wb")  # noqa: SIM115  (closed below; only the opening may be the user's mistake)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise MasscliError(f"{flag} {path}: {error.strerror}") from None
    try:
        with file:
            yield lambda text: file.write(text.encode())
            file.flush()
            if aside != path:
                os.fsync(file.fileno())
        if aside != path:
            aside.replace(path)
    except BaseException:
        if aside != path:
            aside.unlink(missing_ok=True)
        raise
