"""Remember which files of a data folder matched their checksums, so that each is read for it only once.

A file counts as unchanged while its size, time and inode are the same. A copy has other inodes, and is
compared again. The stamps are kept in the folder or, where that cannot be written, in the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.core.files import read_regular, write_atomic

STAMPS_FILE = ".verified.json"


@dataclass(frozen=True)
class Stamp:
    """What a file looked like when it matched its checksum `sha256`."""

    size: int
    mtime_ns: int
    inode: int
    sha256: str

    @classmethod
    def of(cls, path: Path, sha256: str) -> Stamp:
        """Return the stamp of a file as it is now."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, sha256)


def read_stamps(folder: Path) -> dict[str, Stamp]:
    """Return the stamps of a folder by file name; without a readable file of stamps, none."""
    for path in _stamp_files(folder):
        try:
            raw = json.loads(read_regular(path))
            return {name: from_dict(Stamp, stamp) for name, stamp in raw.items()}
        # Whatever is wrong with the stamps, the files can be compared again.
        except (OSError, ValueError, RecursionError, AttributeError, MasscliError):
            continue
    return {}


def write_stamps(folder: Path, stamps: Mapping[str, Stamp]) -> None:
    """Store the stamps of a folder; where nothing can be written, nothing is stored."""
    text = json.dumps({name: asdict(stamp) for name, stamp in stamps.items()}, indent=1)
    for path in _stamp_files(folder):
        try:
            # Only the cache has folders that may have to be made.
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, text.encode())
            return
        except OSError:
            continue


def _stamp_files(folder: Path) -> list[Path]:
    """Return where the stamps of a folder may be, the preferred place first."""
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    # The home folder may be unknown, as in some containers.
    try:
        return [folder / STAMPS_FILE, cache.expanduser() / "masscli" / "verified" / f"{name}.json"]
    except RuntimeError:
        return [folder / STAMPS_FILE]
