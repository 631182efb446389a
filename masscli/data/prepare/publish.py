"""Move a finished data folder into place, so that a kill at any moment does no harm.

A data folder is locked while a run writes to it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from masscli.core.appended_files import acquire_lock
from masscli.core.atomic_files import fsync_path, making_folder
from masscli.core.errors import MasscliError
from masscli.core.folder_kinds import require_kind
from masscli.data.prepare.resume_state import RESUME_FILE
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.example_index import INDEX_NAME
from masscli.data.storage.manifest import MANIFEST_FILE, PARTIAL_FOLDER, Manifest
from masscli.text.corpus import STDIN_COPY

LOCK_FILE = ".lock"
_OWN_FILES = re.compile(
    r".+\.\d{5}\.(bin|idx)|vocab\.model|tokenizer\.json|dropped\.tsv"
)
"""Matches the names of files that may be removed when a data folder is made again."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create the data folder, and keep other processes from writing to it inside the `with` block.

    At the end, partial work that cannot be resumed is removed, and so is the folder if it is new and empty.
    Raises MasscliError if a file is in the way of the folder, if the folder holds a run or a checkpoint, or
    if another process has locked it, and OSError if it may not be made or written.
    """
    require_kind(folder, "a data folder", "--destdir")
    is_new = not folder.exists()
    with ExitStack() as stack:
        try:
            stack.enter_context(making_folder(folder))
        except (FileExistsError, NotADirectoryError):
            raise MasscliError(f"--destdir {folder}: is not a folder") from None
        except FileNotFoundError:
            raise MasscliError(f"--destdir {folder}: cannot be made there") from None
        try:
            stack.enter_context(acquire_lock(folder / LOCK_FILE))
        except BlockingIOError:
            raise MasscliError(
                f"{folder}: another masscli preprocess is writing there",
                "wait for it, or give another --destdir",
            ) from None
        try:
            yield
        finally:
            (folder / STDIN_COPY).unlink(missing_ok=True)
            # Without a resume state, the next run would start over anyway.
            if not (folder / PARTIAL_FOLDER / RESUME_FILE).exists():
                remove_partial(folder)
            # A folder that someone has removed meanwhile must not hide what ended the block.
            with suppress(FileNotFoundError):
                if is_new and [path.name for path in folder.iterdir()] == [LOCK_FILE]:
                    shutil.rmtree(folder)


def is_up_to_date(folder: Path, input_fingerprint: str, overwrite: bool) -> bool:
    """Return whether the folder was already made from the text and settings with this fingerprint.

    An unfinished folder gives False. Raises MasscliError if the folder is damaged, or was made from different
    text or with different settings; with `overwrite` it returns False then.
    """
    if not (folder / MANIFEST_FILE).exists():
        return False
    # Opening also checks that no file is missing; a damaged folder is refused unless it is to be replaced.
    try:
        manifest = DataFolder.open(folder).manifest
    except MasscliError:
        if overwrite:
            return False
        raise
    is_same = manifest.input_fingerprint == input_fingerprint
    if not is_same and not overwrite:
        raise MasscliError(
            f"{folder}: was made from different text or with different settings",
            "give another --destdir, or --overwrite to replace it",
        )
    return is_same


def publish(partial: Path, folder: Path) -> None:
    """Move all files of a finished data folder from `partial` into `folder`, the manifest last.

    Files of an earlier data folder there are removed. If the move is interrupted and then done again, the
    result is the same.
    """
    names = [file.name for file in Manifest.read(partial).files]
    # From here on, until the new manifest is in place, the folder is unfinished.
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    # A file that was moved before an earlier interruption is no longer in `partial`, and must stay.
    for path in folder.iterdir():
        is_replaced = path.name not in names or (partial / path.name).exists()
        is_own = _OWN_FILES.fullmatch(path.name) or INDEX_NAME.fullmatch(path.name)
        if is_own and is_replaced:
            path.unlink()
    for name in names:
        if (partial / name).exists():
            (partial / name).replace(folder / name)
    fsync_path(folder)
    (partial / MANIFEST_FILE).replace(folder / MANIFEST_FILE)
    fsync_path(folder)


def remove_partial(folder: Path) -> None:
    """Remove the folder `.partial`, with the files of an unfinished run, from a data folder."""
    shutil.rmtree(folder / PARTIAL_FOLDER, ignore_errors=True)
