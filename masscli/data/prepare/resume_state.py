"""How far a run of `preprocess` has come, so that the next one can go on from there: `.partial/journal.json`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from masscli.core import files
from masscli.core.config import ConfigError, config, from_dict, to_dict
from masscli.data.storage.column_writer import WriterState
from masscli.data.storage.manifest import FilterStats

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
    accounts: tuple[FilterStats, ...] = ()
    writers: dict[str, WriterState]

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
        files.write_atomic(folder / NAME, json.dumps(to_dict(self)).encode())


def add(total: FilterStats | None, more: FilterStats) -> FilterStats:
    """Figures of one more chunk."""
    if total is None:
        return more

    def both(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
        return {reason: a.get(reason, 0) + b.get(reason, 0) for reason in sorted(a | b)}

    sides = zip(total.sides, more.sides, strict=True)
    return replace(
        total, lines=total.lines + more.lines, kept=total.kept + more.kept, document_breaks=total.document_breaks + more.document_breaks,
        dropped=both(total.dropped, more.dropped), kept_but_suspicious=both(total.kept_but_suspicious, more.kept_but_suspicious),
        sides=tuple(replace(a, pieces=a.pieces + b.pieces, unknown=a.unknown + b.unknown) for a, b in sides),
    )  # fmt: skip
