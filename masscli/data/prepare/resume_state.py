"""The state from which a killed run of `masscli preprocess` is resumed: `.partial/resume.json`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from masscli.core import files
from masscli.core.atomic_files import write_atomic
from masscli.core.config import config, from_dict, to_dict
from masscli.core.errors import MasscliError
from masscli.core.json_text import parse_json
from masscli.core.sealed_json import seal, unseal
from masscli.data.storage.column_writer import WriterState
from masscli.data.storage.manifest import FilterStats

RESUME_FILE = "resume.json"


@config
class ResumeState:
    """The point that a run has reached: the number of its current group, and the chunks of it that are done.

    All groups before number `group` are done, and the first `chunks` chunks of that one. `ends_document` says
    whether a blank line was last, so that the next row starts a document. `key` names the text, settings and
    versions that the state belongs to. `dropped_bytes` is the size of the log of dropped lines, and `writers`
    holds the states of the column writers by the name of the column.
    """

    key: str
    group: int = 0
    chunks: int = 0
    ends_document: bool = False
    dropped_bytes: int = 0
    filter_stats: tuple[FilterStats, ...] = ()
    writers: dict[str, WriterState]

    @classmethod
    def read(cls, folder: Path, key: str) -> ResumeState | None:
        """Return the state stored in a folder.

        Returns None if there is none, if it cannot be read, if it has another key, or if something in the
        folder is not a file.
        """
        try:
            # Opening a pipe would wait for a writer.
            if not all(path.is_file() for path in folder.iterdir()):
                return None
            state = from_dict(
                cls, unseal(parse_json(files.read_regular(folder / RESUME_FILE)))
            )
        # If a state cannot be read, for example because it is of another version, the run just starts
        # over.
        except (OSError, ValueError, MasscliError):
            return None
        if state.key != key:
            return None
        return state

    def write(self, folder: Path) -> None:
        """Write the state into a folder, atomically; all files it refers to must be on disk already."""
        write_atomic(folder / RESUME_FILE, json.dumps(seal(to_dict(self))).encode())


def add_stats(total: FilterStats | None, new: FilterStats) -> FilterStats:
    """Return the sum of `total`, the counts so far (None at first), and of `new`, those of one more chunk."""
    if total is None:
        return new
    sides = []
    for old_side, new_side in zip(total.sides, new.sides, strict=True):
        pieces = old_side.pieces + new_side.pieces
        sides.append(
            replace(
                old_side, pieces=pieces, unknown=old_side.unknown + new_side.unknown
            )
        )
    return replace(
        total,
        lines=total.lines + new.lines,
        kept=total.kept + new.kept,
        document_breaks=total.document_breaks + new.document_breaks,
        dropped=_add_counts(total.dropped, new.dropped),
        kept_but_suspicious=_add_counts(
            total.kept_but_suspicious, new.kept_but_suspicious
        ),
        sides=tuple(sides),
    )


def _add_counts(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    return {
        reason: first.get(reason, 0) + second.get(reason, 0)
        for reason in sorted(first | second)
    }
