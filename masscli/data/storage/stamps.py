"""Remember which files of a data folder matched their checksums, so that they are not verified again.

A file counts as unchanged while its size, modification time and inode are the same. A copy has a
different inode, and is verified again. The stamps are kept in the folder or, if that is not writable,
in the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from masscli.core.atomic_files import write_atomic
from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.core.files import read_regular
from masscli.core.json_text import parse_json

STAMPS_FILE = ".verified.json"


@dataclass(frozen=True)
class Stamp:
    """The size, modification time and inode of a file when it matched its checksum `sha256`."""

    size: int
    mtime_ns: int
    inode: int
    sha256: str

    @classmethod
    def of(cls, path: Path, sha256: str) -> Stamp:
        """Return the stamp of a file in its present state; `sha256` is stored, not checked."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, sha256)


def read_stamps(folder: Path) -> dict[str, Stamp]:
    """Return the stored stamps of a data folder by file name.

    The result is empty if there are none, or if they cannot be read.
    """
    for path in _stamp_files(folder):
        try:
            raw = parse_json(read_regular(path))
            return {name: from_dict(Stamp, stamp) for name, stamp in raw.items()}
        # Whatever is wrong with the stamps, the files can be verified again.
        except (OSError, ValueError, AttributeError, MasscliError):
            continue
    return {}


def write_stamps(folder: Path, stamps: Mapping[str, Stamp]) -> None:
    """Store the stamps in the folder or, failing that, in the user's cache; failing both, do nothing."""
    text = json.dumps({name: asdict(stamp) for name, stamp in stamps.items()}, indent=1)
    for path in _stamp_files(folder):
        try:
            # Only in the cache may folders have to be created.
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, text.encode())
            return
        except (OSError, MasscliError):
            continue


def cache_folder() -> list[Path]:
    """Return [masscli's folder in the user's cache], or [] if the home folder is not known."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    # The home folder may be unknown, as in some containers.
    try:
        return [cache.expanduser() / "masscli"]
    except RuntimeError:
        return []


def _stamp_files(folder: Path) -> list[Path]:
    """Return the paths at which the stamps of a folder may be stored, the preferred one first."""
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()
    in_cache = [cache / "verified" / f"{name}.json" for cache in cache_folder()]
    return [folder / STAMPS_FILE, *in_cache]
