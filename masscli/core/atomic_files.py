"""Write files and folders atomically, so that neither a reader nor a crash sees half of one.

While a file or folder is being written, it has a unique temporary name, so two processes that write to
the same path do not interfere. The file of the process that finishes last replaces the other one; a
folder that is not empty is never replaced. A temporary file or folder is locked while its process
writes, so that the next process can recognize and remove what a killed process has left.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from masscli.core.errors import NO_ROOM, MasscliError
from masscli.core.files import real_path, require_regular


@contextmanager
def naming_full_file(path: Path) -> Iterator[None]:
    """Add `path` to an OSError from the `with` block that says that the disk is full.

    Python names a file that cannot be opened, but not an open file that cannot be written further.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:
            error.filename = str(path)
        raise


def write_synced(path: Path, data: bytes) -> None:
    """Write a file in place, and wait until it is on the disk."""
    with naming_full_file(path), open(path, "wb") as file:
        file.write(data)
        flush_to_disk(file)


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to a file, which appears, or replaces an existing file, in one step."""
    with open_atomic(path) as file:
        file.write(data)


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file for writing, which is renamed to `path` when the `with` block ends.

    If the block raises an error, the temporary file is removed, and `path` stays as it was. If `path`
    is a symbolic link, it stays one, and its target is replaced. Raises IsADirectoryError if `path` is
    a folder, and MasscliError for a pipe or a device, which must not be replaced by a file.
    """
    if path.is_symlink():
        path = real_path(path)
    if path.is_dir():
        # Otherwise the error would come after everything is written, and name the temporary
        # file.
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists():
        require_regular(path)
    remove_leftovers(path)
    aside, lock = _reserve_name(path, is_folder=False)
    # An interrupt must not leave the unfinished file behind either.
    try:
        with naming_full_file(path), open(aside, "wb") as file:
            yield file
            flush_to_disk(file)
        # Renaming within a folder is one step for every reader.
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)


@contextmanager
def making_folder(path: Path) -> Iterator[None]:
    """Create a folder and its missing parents for the `with` block.

    After an error in the block, folders that were created and are empty are removed again. Raises
    OSError if a folder cannot be created.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        # The innermost folder comes first.
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder, which is renamed to `path` when the `with` block ends.

    The block fills the temporary folder, which is next to `path`; after an error it is removed. If
    `path` is a symbolic link, it stays one, and its target becomes the new folder. Raises MasscliError
    if `path` is a folder that is not empty when the block ends.
    """
    if path.is_symlink():
        path = real_path(path)
    remove_leftovers(path)
    with making_folder(path.parent):
        aside, lock = _reserve_name(path, is_folder=True)
        with _renamed_to(path, aside, lock):
            yield aside


@contextmanager
def _renamed_to(path: Path, aside: Path, lock: int) -> Iterator[None]:
    """Rename the folder `aside` to `path` when the `with` block ends; after an error, remove it.

    The descriptor `lock` is closed. Raises MasscliError if `path` is a folder that is not empty.
    """
    try:
        yield
        fsync_path(aside)
        aside.rename(path)
        fsync_path(path.parent)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (
            errno.ENOTEMPTY,
            errno.EEXIST,
        ):
            raise MasscliError(
                f"{path}: another process has written it meanwhile",
                "choose another folder with --output",
            ) from None
        raise
    finally:
        os.close(lock)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files and folders for `path` that killed processes have left next to it.

    Those that a running process is writing to are locked, and are kept.
    """
    for leftover in path.parent.glob(f"{glob.escape(_prefix(path))}.*.new"):
        # It may be gone by now, be locked, belong to another user, or be on a disk without
        # locks.
        with suppress(OSError):
            # Opening a pipe would wait for a writer.
            lock = os.open(leftover, os.O_RDONLY | os.O_NONBLOCK)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
            finally:
                os.close(lock)


def update_link(link: Path, target: str) -> None:
    """Create the symbolic link `link` to `target`, or replace an existing link, in one step."""
    # A symbolic link cannot be changed in place, but another can be renamed to it.
    aside = link.with_name(f".{link.name}.new")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    try:
        aside.replace(link)
    except OSError:
        aside.unlink()
        raise
    fsync_path(link.parent)


def set_default_mode(path: Path) -> None:
    """Give a file the permissions that the umask gives to a newly created file."""
    # The umask can only be read by setting it, so the mode is taken from a newly created file.
    model = path.with_name(f".{path.name}.mode")
    model.touch(exist_ok=True)
    mode = model.stat().st_mode
    model.unlink()
    path.chmod(mode)


def flush_to_disk(file: IO[bytes]) -> None:
    """Flush an open file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def fsync_path(path: Path) -> None:
    """Flush a closed file, or the list of entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # A new or renamed entry is on the disk only when its folder is flushed, too.
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prefix(path: Path) -> str:
    """Return the prefix of temporary names for `path`: a dot and its name.

    The name is truncated to 200 bytes, so that the temporary name stays within the 255 bytes that file
    systems allow.
    """
    return "." + os.fsdecode(os.fsencode(path.name)[:200])


def _reserve_name(path: Path, is_folder: bool) -> tuple[Path, int]:
    """Create and lock an empty file or folder next to `path`, under a new temporary name.

    Returns its path, and the open descriptor that holds the lock. An OSError names `path`.
    """
    while True:
        aside = path.with_name(
            f"{_prefix(path)}.{os.getpid()}-{secrets.token_hex(4)}.new"
        )
        try:
            if is_folder:
                aside.mkdir()
            else:
                aside.touch(exist_ok=False)
        except OSError as error:
            # The user does not know the temporary name.
            error.filename = str(path)
            raise
        # Before it is locked, another process may mistake it for a leftover and remove it.
        with suppress(FileNotFoundError):
            lock = os.open(aside, os.O_RDONLY)
            # Without locks on this disk, leftovers are not removed either.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            if aside.exists():
                return aside, lock
            os.close(lock)
