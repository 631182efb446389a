"""`manifest.json`: what a data folder holds.  It is written last, in one step; a folder without it is not finished.

It says nothing of when, where or with how many workers it was made: the same text and settings give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from masscli.core.config import ConfigError, config, from_dict, to_dict
from masscli.core.errors import MasscliError

FORMAT = 1
NAME = "manifest.json"
_AGAIN = "run masscli preprocess again, with --overwrite"


@config
class File:
    """One file of the folder."""

    name: str
    size: int
    sha256: str


@config
class ShardEntry:
    """One shard of a column: NAME.bin and NAME.idx."""

    name: str
    rows: int
    values: int


@config
class ColumnEntry:
    """One column; `kind` is one of `ragged.KINDS`."""

    name: str
    kind: str
    shards: tuple[ShardEntry, ...]


@config
class PairEntry:
    """A pair of aligned columns; `source_rows` and `target_rows` name columns of row numbers, where not all rows of a side belong to it."""

    split: str
    source: str
    target: str
    source_column: str
    target_column: str
    source_rows: str | None = None
    target_rows: str | None = None


@config
class TextEntry:
    """A column that is text of a language: a monolingual file (`mono`), or the side of some pairs."""

    split: str
    language: str
    column: str
    mono: bool
    raw: str | None = None


@config
class FieldEntry:
    """One column of a table: what it is called there, and the column it is."""

    name: str
    column: str


@config
class TableEntry:
    """Labelled examples of a split; `format` and `path` say what was read."""

    name: str
    split: str
    format: str
    language: str
    path: str
    rows: int
    fields: tuple[FieldEntry, ...]


@config
class Input:
    """One file that was read."""

    role: str
    path: str
    size: int
    sha256: str
    lines: int


@config
class Side:
    """Figures of one side of a part."""

    language: str
    path: str
    pieces: int = 0
    unknown: int = 0


@config
class Account:
    """Where the lines of a part went: lines = kept + breaks + dropped.  `odd` lines of valid and test were kept all the same."""

    part: str
    lines: int = 0
    kept: int = 0
    breaks: int = 0
    dropped: dict[str, int]
    odd: dict[str, int]
    sides: tuple[Side, ...]


@config
class Manifest:
    """The whole of it."""

    format: int
    key: str
    fingerprint: str
    languages: tuple[str, ...]
    pairs: tuple[str, ...]
    pairs_as_mono: bool
    settings: dict[str, str]
    inputs: tuple[Input, ...]
    accounts: tuple[Account, ...]
    columns: tuple[ColumnEntry, ...]
    texts: tuple[TextEntry, ...]
    aligned: tuple[PairEntry, ...]
    files: tuple[File, ...]
    tables: tuple[TableEntry, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder that `preprocess` has finished."""
        path = folder / NAME
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise MasscliError(f"{folder}: is not a data folder", _advice(folder)) from None
        except ValueError as error:
            raise MasscliError(f"{path}: is damaged ({error})", _AGAIN) from None
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            found = raw.get("format") if isinstance(raw, dict) else None
            raise MasscliError(f"{path}: has format {found}, this masscli reads {FORMAT}", _AGAIN)
        try:
            return from_dict(cls, raw)
        except ConfigError as error:
            raise MasscliError(f"{path}: is damaged ({error.message.splitlines()[0]})", _AGAIN) from None

    def split_fingerprint(self, split: str) -> str:
        """A fingerprint of the rows of a split, and of nothing else."""
        columns = {text.column for text in self.texts if text.split == split}
        columns |= {field.column for table in self.tables if table.split == split for field in table.fields}
        columns |= {
            name
            for pair in self.aligned
            if pair.split == split
            for name in (pair.source_rows, pair.target_rows)
            if name
        }
        stems = {shard.name for column in self.columns if column.name in columns for shard in column.shards}
        found = sorted(
            (file.name, file.sha256)
            for file in self.files
            if file.name.removesuffix(".bin").removesuffix(".idx") in stems
        )
        return hashlib.sha256(json.dumps(found).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """All at once, or not at all."""
        write_atomically(folder / NAME, json.dumps(to_dict(self), indent=1, ensure_ascii=False) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Aside, to disk, in place."""
    aside = path.with_name(path.name + ".tmp")
    with open(aside, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _advice(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder}; masscli preprocess --destdir {folder} makes one"
    if (folder / ".partial").is_dir():
        return "masscli preprocess has not finished there; run the same command again and it goes on"
    return "it has no manifest.json; give the --destdir of masscli preprocess"
