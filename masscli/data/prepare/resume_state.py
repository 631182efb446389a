"""How far a run of `preprocess` has come, so that the next one can go on from there: `.partial/journal.json`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from masscli.core.config import ConfigError, config, from_dict, to_dict
from masscli.data.storage.columns import State
from masscli.data.storage.manifest import Account, write_atomically

NAME = "journal.json"


@config
class Journal:
    """`chunks` chunks of part number `part` are encoded, and all parts before it; `broken` if the last line of
    them ended a document.  `key` says of which text, with which settings."""

    key: str
    part: int = 0
    chunks: int = 0
    broken: bool = False
    ledger: int = 0
    accounts: tuple[Account, ...] = ()
    writers: dict[str, State]

    @classmethod
    def read(cls, folder: Path, key: str) -> Journal | None:
        """The journal in a folder, if it is about the same work."""
        try:
            found = from_dict(cls, json.loads((folder / NAME).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, ConfigError):
            return None
        return found if found.key == key else None

    def write(self, folder: Path) -> None:
        """All at once; what it speaks of must be on disk already."""
        write_atomically(folder / NAME, json.dumps(to_dict(self)))


def add(total: Account | None, more: Account) -> Account:
    """Figures of one more chunk."""
    if total is None:
        return more

    def both(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
        return {reason: a.get(reason, 0) + b.get(reason, 0) for reason in sorted(a | b)}

    sides = zip(total.sides, more.sides, strict=True)
    return replace(
        total, lines=total.lines + more.lines, kept=total.kept + more.kept, breaks=total.breaks + more.breaks,
        dropped=both(total.dropped, more.dropped), odd=both(total.odd, more.odd),
        sides=tuple(replace(a, pieces=a.pieces + b.pieces, unknown=a.unknown + b.unknown) for a, b in sides),
    )  # fmt: skip
