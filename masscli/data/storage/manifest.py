"""The manifest of a data folder, `manifest.json`, which lists the contents of the folder.

It is written last, so a folder without it is unfinished, and it holds a checksum of its own content. It
does not say when, where or with how many workers the folder was made: the same text and settings give
the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from masscli.core import files
from masscli.core.atomic_files import write_atomic
from masscli.core.config import ConfigError, config, from_dict, to_dict
from masscli.core.errors import MasscliError
from masscli.core.folder_kinds import PART_FILE, PART_HINT
from masscli.core.json_text import parse_json
from masscli.core.listing import list_some
from masscli.core.sealed_json import SealError, seal, unseal
from masscli.data.storage.shards import DTYPES_OF_KIND
from masscli.text.corpus import read_regular_text

FORMAT = 3
"""The version of the manifest's format. Version 2 had no checksum of the manifest."""
MANIFEST_FILE = "manifest.json"
PARTIAL_FOLDER = ".partial"
LISTED_FOLDERS = 8
"""How many data folders in a folder an error names."""
"""The name of the folder inside a data folder that holds the files of an unfinished run."""
_HINT = "run masscli preprocess again, with --overwrite"


@config
class FileEntry:
    """One file of the data folder, with its size in bytes and its checksum."""

    name: str
    size: int
    sha256: str


@config
class ShardEntry:
    """One shard of a column, stored in NAME.bin and NAME.idx, with its numbers of rows and values."""

    name: str
    rows: int
    values: int


@config
class ColumnEntry:
    """One column, with its shards in order; `kind` is a key of `shards.DTYPES_OF_KIND`."""

    name: str
    kind: str
    shards: tuple[ShardEntry, ...]


@config
class PairEntry:
    """The aligned columns of two languages in a split.

    If only some rows of `source_column` belong to the pair, the column called `source_rows` holds the numbers
    of those rows; otherwise `source_rows` is None. The same holds for the target.
    """

    split: str
    source: str
    target: str
    source_column: str
    target_column: str
    source_rows: str | None = None
    target_rows: str | None = None


@config
class TextEntry:
    """A column of text in one language: a monolingual file, or one side of one or more pairs.

    `original` names the column that holds the lines of the input file before any preprocessing. Only
    validation and test text has one.
    """

    split: str
    language: str
    column: str
    monolingual: bool
    original: str | None = None


@config
class FieldEntry:
    """One column of a table: its name in the table, and the name of the column that stores it."""

    name: str
    column: str


@config
class TableEntry:
    """The labeled examples of one table in one split; `format` and `path` are those of the input file.

    `rows` is the number of examples. `bad_rows` is the number of rows that were skipped because they
    could not be read; None if there were none.
    """

    name: str
    split: str
    format: str
    language: str
    path: str
    rows: int
    bad_rows: int | None = None
    fields: tuple[FieldEntry, ...]


@config
class InputEntry:
    """One input file that `masscli preprocess` read, with its size in bytes.

    `role` is the name of the column or table that it was read for.
    """

    role: str
    path: str
    size: int
    sha256: str
    lines: int


@config
class SideStats:
    """The number of pieces, and of unknown ones among them, in the kept lines of one side.

    A side is one of the two files of a pair, or a monolingual file. Where pairs share a file, each pair has
    an entry for it, which counts the lines that this pair keeps.
    """

    language: str
    path: str
    pieces: int = 0
    unknown: int = 0


@config
class FilterStats:
    """How many lines of a pair, or of a monolingual text, were kept and dropped.

    `group` names the pair or the text, such as train.en-de. lines = kept + document_breaks (blank
    lines) + the counts in `dropped`, which maps reasons to counts. `kept_but_suspicious` counts by
    reason the lines that a rule marked as bad, but that were kept.
    """

    group: str
    lines: int = 0
    kept: int = 0
    document_breaks: int = 0
    dropped: dict[str, int]
    kept_but_suspicious: dict[str, int]
    sides: tuple[SideStats, ...]


@config
class Manifest:
    """The contents of `manifest.json`.

    `input_fingerprint` is a hash of the input text and of the settings, by which a later run recognizes
    that the folder is up to date. `settings` maps options to their values as JSON; a given vocabulary
    is represented by a hash of its contents.
    """

    format: int
    input_fingerprint: str
    vocab_fingerprint: str
    languages: tuple[str, ...]
    pairs: tuple[str, ...]
    pairs_as_mono: bool
    settings: dict[str, str]
    inputs: tuple[InputEntry, ...]
    filter_stats: tuple[FilterStats, ...]
    columns: tuple[ColumnEntry, ...]
    texts: tuple[TextEntry, ...]
    aligned: tuple[PairEntry, ...]
    files: tuple[FileEntry, ...]
    tables: tuple[TableEntry, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Return the manifest of a finished data folder.

        Raises MasscliError if there is none, if it is damaged, or if it has another format.
        """
        path = folder / MANIFEST_FILE
        try:
            raw = parse_json(read_regular_text(path))
        except (FileNotFoundError, NotADirectoryError):
            raise MasscliError(
                f"{folder}: is not a data folder", _missing_hint(folder)
            ) from None
        except ValueError as error:
            raise MasscliError(f"{path}: is damaged ({error})", _HINT) from None
        # Another format may have different keys, so only its number can be read.
        version = None
        if isinstance(raw, dict):
            version = raw.get("format")
        if version != FORMAT:
            raise MasscliError(
                f"{path}: has format {version}, this masscli reads {FORMAT}", _HINT
            )
        try:
            manifest = from_dict(cls, unseal(raw))
        except (SealError, ConfigError) as error:
            reason = str(error).splitlines()[0]
            raise MasscliError(f"{path}: is damaged ({reason})", _HINT) from None
        damage = manifest.find_damage()
        if damage is not None:
            raise MasscliError(f"{path}: is damaged ({damage})", _HINT)
        return manifest

    def find_damage(self) -> str | None:
        """Return a description of the first contradiction in the manifest, or None if there is none.

        It checks the names of files and columns, the kinds of columns, that every column that is used exists,
        and that its files are listed.
        """
        files = {file.name for file in self.files}
        for name in files:
            # A file of another folder does not belong to this one.
            if Path(name).name != name:
                return f"{name!r} is not the name of a file"
        columns = {column.name for column in self.columns}
        if len(columns) < len(self.columns) or len(files) < len(self.files):
            return "a name occurs twice"
        # It is found now rather than when an update needs the column.
        missing = self._used_columns() - columns
        if missing:
            return f"it has no column {min(missing)!r}"
        return self._find_column_damage(files)

    def _find_column_damage(self, files: set[str]) -> str | None:
        """Return a description of the first column that is damaged, or None if there is none.

        A column is damaged if its kind is unknown, or if a file of it is not among `files`, the listed file
        names.
        """
        for column in self.columns:
            if column.kind not in DTYPES_OF_KIND:
                return f"{column.kind!r} is not a kind of column"
            for shard in column.shards:
                for suffix in (".bin", ".idx"):
                    if shard.name + suffix not in files:
                        return f"{shard.name}{suffix} is not in its list of files"
        return None

    def _used_columns(self) -> set[str]:
        """Return the names of all columns that the entries of texts, pairs and tables refer to."""
        # Optional columns are None in some entries, and are taken out at the end.
        names: set[str | None] = set()
        for text in self.texts:
            names.update([text.column, text.original])
        for pair in self.aligned:
            names.update(
                [
                    pair.source_column,
                    pair.target_column,
                    pair.source_rows,
                    pair.target_rows,
                ]
            )
        for table in self.tables:
            names.update(field.column for field in table.fields)
        return {name for name in names if name is not None}

    def write(self, folder: Path) -> None:
        """Write the manifest, with its checksum, to `manifest.json` in a folder, atomically."""
        # People also read it, so each value has a line, and file names are not escaped.
        text = json.dumps(seal(to_dict(self)), indent=1, ensure_ascii=False) + "\n"
        write_atomic(folder / MANIFEST_FILE, text.encode())

    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits in the folder, such as train, valid, valid1, test."""
        entries: list[TextEntry | TableEntry] = [*self.texts, *self.tables]
        return tuple(dict.fromkeys(entry.split for entry in entries))

    def split_fingerprint(self, split: str) -> str:
        """Return a hash of the stored rows of a split, which does not depend on other splits.

        It covers the names and checksums of the shard files, except those with the lines of the input before
        any preprocessing.
        """
        columns = self._columns_of(split)
        stems = set()
        for column in self.columns:
            if column.name in columns:
                for shard in column.shards:
                    stems.add(shard.name)
        # File names are included, since the same rows with shards in a different order are different
        # data.
        digests = []
        for file in self.files:
            if file.name.removesuffix(".bin").removesuffix(".idx") in stems:
                digests.append((file.name, file.sha256))
        return hashlib.sha256(json.dumps(sorted(digests)).encode()).hexdigest()

    def _columns_of(self, split: str) -> set[str | None]:
        """Return the names of all columns of a split that count as its data.

        These are token ids, fields of tables and row numbers of pairs. Columns with the original lines of the
        input do not count. The set may also hold None, which names no column: it stands for a pair without
        row numbers.
        """
        names: set[str | None] = set()
        for text in self.texts:
            if text.split == split:
                names.add(text.column)
        for table in self.tables:
            if table.split == split:
                names.update(field.column for field in table.fields)
        # The choice of rows that belong to a pair is also data.
        for pair in self.aligned:
            if pair.split == split:
                names.update([pair.source_rows, pair.target_rows])
        return names


def _missing_hint(folder: Path) -> str:
    """Return a hint for a user who has named a folder that has no manifest."""
    broken_link = files.broken_link_hint(folder)
    if broken_link is not None:
        return broken_link
    if not folder.is_dir():
        return f"there is no folder {folder}; masscli preprocess --destdir {folder} makes one"
    if (folder / PART_FILE).is_file():
        return PART_HINT
    if (folder / PARTIAL_FOLDER).is_dir():
        return "masscli preprocess has not finished there; run the same command again to resume it"
    # Such as data-bin, the default, where data-bin/m30k was made.
    inside = sorted(str(path.parent) for path in folder.glob(f"*/{MANIFEST_FILE}"))
    if inside:
        return f"it is a folder of data folders: name one of {list_some(inside, LISTED_FOLDERS)}"
    return f"it has no {MANIFEST_FILE}; give the --destdir of masscli preprocess"
