"""Where results are written: standard output, or a file that appears only when it is complete."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from masscli.core.atomic_files import naming_full_file, open_atomic
from masscli.core.errors import MasscliError
from masscli.core.files import real_path


def check_output(path: Path) -> None:
    """Raise MasscliError if `path`, given with --output, is a folder or cannot be written.

    It is for commands that write their file after minutes of work.
    """
    if path.is_dir():
        raise MasscliError(f"--output {path}: is a folder", "name a file")
    if not path.parent.is_dir():
        raise MasscliError(f"--output {path}: its folder does not exist", "name a file")
    if str(path) != "-":
        _check_writable("--output", path)


def check_distinct(paths: Mapping[str, Path | None]) -> None:
    """Raise MasscliError if two options, given by flag with their files to write, name the same file.

    One result would replace the other, or both would be mixed on standard output (`-`).
    """
    flags: dict[Path, str] = {}
    for flag, path in paths.items():
        if path is None:
            continue
        # A file may be spelled in several ways.
        place = path if str(path) == "-" or path.is_char_device() else real_path(path)
        other = flags.setdefault(place, flag)
        if other != flag:
            raise MasscliError(f"{flag} {path}: is {other}, too", "name two files")


def check_inputs_stay(
    outputs: Mapping[str, Path | None], inputs: Iterable[Path | None]
) -> None:
    """Raise MasscliError if an option, given by flag with its file to write, names one of the `inputs`.

    A complete output replaces an existing file with its name, so the input would be lost; a log would
    be appended to it.
    """
    places = {real_path(path) for path in inputs if path is not None and path.is_file()}
    for flag, path in outputs.items():
        if path is not None and real_path(path) in places:
            raise MasscliError(
                f"{flag} {path}: is an input, which it would change",
                "name another file",
            )


def check_is_file(paths: Mapping[str, Path | None]) -> None:
    """Raise MasscliError if an option, given by flag with its file to write, does not name a valid file.

    It is for files that are written when results have been printed: standard output (`-`), a folder, a pipe,
    a device, and a place that does not exist or may not be written are refused before the work begins.
    """
    for flag, path in paths.items():
        if path is None:
            continue
        if str(path) == "-":
            raise MasscliError(f"{flag} -: cannot be standard output", "name a file")
        if path.exists() and not path.is_file():
            raise MasscliError(
                f"{flag} {path}: is not a file, but a folder, a pipe or a device",
                "name a file",
            )
        if not path.parent.is_dir():
            raise MasscliError(
                f"{flag} {path}: its folder does not exist",
                "name a file in a folder that exists",
            )
        _check_writable(flag, path)


def _check_writable(flag: str, path: Path) -> None:
    """Raise MasscliError if a file that exists, or the folder of one that does not, may not be written."""
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise MasscliError(
            f"{flag} {path}: may not be written",
            "choose a place that may be written to",
        )


@contextmanager
def writer(path: Path, flag: str = "--output") -> Iterator[Callable[[str], object]]:
    """Open `path` (standard output if it is `-`) for a `with` block, and yield a function that writes text.

    Text is UTF-8, whatever the locale. A file is written under another name and renamed at the end. Standard
    output, and a device such as /dev/null, are flushed after each call, since another process may wait for
    the text. Raises MasscliError, which names the option `flag`, if the path is a folder or lies in none, and
    OSError for other reasons, such as missing permissions.
    """
    if str(path) == "-":
        yield lambda text: _write_at_once(sys.stdout.buffer, text)
        return
    is_device = path.exists() and not path.is_file()
    with naming_full_file(path), ExitStack() as stack:
        # Only a failure to open the file is a user error.
        try:
            # The stack closes it.
            opened = open(path, "wb") if is_device else open_atomic(path)  # noqa: SIM115
            file = stack.enter_context(opened)
        except FileNotFoundError:
            raise MasscliError(
                f"{flag} {path}: its folder does not exist",
                "name a file in a folder that exists",
            ) from None
        except (IsADirectoryError, NotADirectoryError) as error:
            raise MasscliError(
                f"{flag} {path}: {error.strerror}", "name a file"
            ) from None
        if is_device:
            yield lambda text: _write_at_once(file, text)
        else:
            yield lambda text: file.write(text.encode())


def _write_at_once(file: BinaryIO, text: str) -> None:
    file.write(text.encode())
    file.flush()
