"""Read what `preprocess` wrote: columns of rows, and the folder they live in.

A `Column` is a sequence of ragged rows over any number of shard files, mapped into memory and never loaded as a whole; it does not
know what the rows are for.  A `DataFolder` is a data folder: which columns are the text of a language, and which are aligned.
"""

from __future__ import annotations

import functools
import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masscli.core.config import suggest
from masscli.core.errors import MasscliError
from masscli.data.storage.case_insensitive import CaseInsensitiveMapping
from masscli.data.storage.columns import Shard
from masscli.data.storage.manifest import ColumnEntry, Manifest, TextEntry
from masscli.data.storage.tables import Table, TextColumn
from masscli.text.tokenizer import TOKENIZER_FILE, Tokenizer, read_card
from masscli.text.vocabulary import Vocabulary

_AGAIN = "copy the folder again, or run masscli preprocess with --overwrite"


class MissingDataError(MasscliError):
    """A folder does not have what is asked for."""


@dataclass(frozen=True)
class Column:
    """Rows of `shards`, one after another; or, where there are `selected` row numbers, those rows in that order."""

    shards: tuple[Shard, ...]
    selected: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self._starts[-1] if self.selected is None else len(self.selected)

    def __getitem__(self, row: int) -> NDArray[np.int64]:
        """The ids (or whole numbers) of a row, a copy."""
        return self.values(row).astype(np.int64)

    def values(self, row: int) -> NDArray[Any]:
        """A row as it is stored, a view of the file."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        row = row % len(self)
        if self.selected is not None:
            row = int(self.selected[row])
        at = bisect_right(self._starts, row) - 1
        shard, row = self.shards[at], row - self._starts[at]
        start, stop = shard.offsets[row : row + 2].tolist()
        return shard.values[start:stop]

    def text(self, row: int) -> str:
        """A row of a text column."""
        return self.values(row).tobytes().decode("utf-8")

    def lengths(self, start: int = 0, stop: int | None = None) -> NDArray[np.int32]:
        """Values in each of some rows, from the index alone."""
        start, stop, _ = slice(start, stop).indices(len(self))
        if self.selected is not None:
            return self._lengths_of(self.selected[start:stop])
        found = [np.zeros(0, np.int32)]
        for shard, first in zip(self.shards, self._starts, strict=False):
            low, high = max(start - first, 0), min(stop - first, shard.rows)
            if low < high:
                found.append(np.diff(shard.offsets[low : high + 1]).astype(np.int32))
        return np.concatenate(found)

    def select(self, rows: NDArray[np.int64]) -> Column:
        """Some of the rows, in the order given."""
        return Column(self.shards, rows if self.selected is None else self.selected[rows])

    @property
    def document_starts(self) -> NDArray[np.int64]:
        """Rows at which a document starts; row 0 always does (unless there is none), and a selection of rows is one document."""
        if self.selected is not None or not len(self):
            return np.zeros(min(1, len(self)), np.int64)
        starts = zip(self.shards, self._starts, strict=False)
        return np.concatenate([shard.documents + first for shard, first in starts])

    @functools.cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(shard.rows for shard in self.shards)]

    def _lengths_of(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        found = np.zeros(len(rows), np.int32)
        where = np.searchsorted(np.array(self._starts), rows, "right") - 1
        for at in np.unique(where):
            here = where == at
            local = rows[here] - self._starts[at]
            offsets = self.shards[at].offsets
            found[here] = offsets[local + 1] - offsets[local]
        return found


def chain(columns: Sequence[Column]) -> Column:
    """One column after another."""
    if any(column.selected is not None for column in columns):
        raise ValueError("columns with picked rows are not chained")
    return Column(tuple(shard for column in columns for shard in column.shards))


class DataFolder:
    """A data folder."""

    def __init__(self, folder: Path, manifest: Manifest, vocab: Vocabulary) -> None:
        self.folder, self.manifest, self.vocab = folder, manifest, vocab
        self.languages = manifest.languages
        self.pairs = manifest.pairs
        self._pieces: dict[str, NDArray[np.int64]] = {}

    @classmethod
    def open(cls, folder: Path) -> DataFolder:
        """Check that the folder is finished, of this format, and that no file is missing or cut short."""
        manifest = Manifest.read(folder)
        for file in manifest.files:
            path = folder / file.name
            if not path.is_file():
                raise MasscliError(f"{path}: is missing", _AGAIN)
            if (size := path.stat().st_size) != file.size:
                raise MasscliError(f"{path}: has {size} bytes instead of {file.size}", _AGAIN)
        card = read_card(folder)
        if card.fingerprint != manifest.fingerprint:
            raise MasscliError(
                f"{folder / TOKENIZER_FILE}: is not the vocabulary that these shards were made with",
                "put the right one back",
            )
        return cls(folder, manifest, card.vocabulary())

    def tokenizer(self) -> Tokenizer:
        """What turned the text into ids."""
        return Tokenizer.load(self.folder)

    def splits(self) -> tuple[str, ...]:
        """train, valid, test, valid1, ... as far as they are there."""
        return tuple(
            dict.fromkeys(
                [
                    *(text.split for text in self.manifest.texts),
                    *(table.split for table in self.manifest.tables),
                ]
            )
        )

    @property
    def table_formats(self) -> dict[str, str]:
        """The labelled tables, each with its format."""
        return {table.name: table.format for table in self.manifest.tables}

    def table(self, name: str, split: str) -> Table:
        """Labelled examples."""
        for t in self.manifest.tables:
            if (t.name, t.split) == (name, split):
                columns: dict[str, TextColumn] = {f.name: self._column(f.column) for f in t.fields}
                return Table(
                    t.name, t.split, t.format, t.language, t.path, CaseInsensitiveMapping(columns), t.rows
                )
        splits = [t.split for t in self.manifest.tables if t.name == name]
        hint = (
            f"it has {', '.join(splits)}"
            if splits
            else f"its tables are {', '.join(self.table_formats) or 'none'}"
        )
        raise MissingDataError(f"{self.folder}: has no {split} split of {name}", hint)

    def monolingual(self, split: str, language: str) -> Column:
        """All text of a language: for training its own files and the sides of pairs (if pairs_as_mono), else its own or those."""
        texts = self._texts(split, language)
        own = [text for text in texts if text.mono]
        sides = [text for text in texts if not text.mono]
        use = own + (sides if self.manifest.pairs_as_mono else []) if split == "train" else own or sides
        if not use:
            raise MissingDataError(
                f"{self.folder}: has no monolingual {split} text of {language!r}", self._inventory(split)
            )
        return chain([self._column(text.column) for text in use])

    def piece_counts(self, language: str) -> NDArray[np.int64]:
        """(V,) how often each piece occurs in the training text of a language; read once, since several directions ask for it."""
        if language not in self._pieces:
            self._pieces[language] = count_pieces(self.monolingual("train", language), self.vocab.size)
        return self._pieces[language]

    def pair(self, split: str, source: str, target: str) -> tuple[Column, Column]:
        """Aligned columns, in either direction."""
        for found in self.manifest.aligned:
            if found.split == split and {found.source, found.target} == {source, target}:
                first = self._side(found.source_column, found.source_rows)
                second = self._side(found.target_column, found.target_rows)
                return (first, second) if source == found.source else (second, first)
        raise MissingDataError(
            f"{self.folder}: has no {split} pairs {source}-{target}", self._inventory(split)
        )

    def original_lines(self, split: str, pair_or_lang: str, language: str) -> list[str]:
        """The lines of valid or test as they were, for scoring against."""
        for found in self.manifest.aligned:
            if found.split == split and pair_or_lang in (
                f"{found.source}-{found.target}",
                f"{found.target}-{found.source}",
            ):
                column = found.source_column if language == found.source else found.target_column
                return self._lines(next(text for text in self.manifest.texts if text.column == column))
        texts = self._texts(split, language) if pair_or_lang == language else []
        own = [text for text in texts if text.mono] or texts
        if not own:
            raise MasscliError(
                f"{self.folder}: has no {split} text of {pair_or_lang}", self._inventory(split)
            )
        return [line for text in own for line in self._lines(text)]

    def verify(self) -> None:
        """Read everything, and compare checksums."""
        for file in self.manifest.files:
            with open(self.folder / file.name, "rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                    raise MasscliError(f"{self.folder / file.name}: does not match its checksum", _AGAIN)

    def _lines(self, text: TextEntry) -> list[str]:
        if text.raw is None:
            raise MasscliError(f"{self.folder}: keeps no lines of {text.split}, only their ids")
        column = self._column(text.raw)
        return [column.text(row) for row in range(len(column))]

    def _texts(self, split: str, language: str) -> list[TextEntry]:
        if language not in self.languages:
            raise MasscliError(
                f"{self.folder}: has no language {language!r}{suggest(language, self.languages)}"
            )
        return [text for text in self.manifest.texts if text.split == split and text.language == language]

    def _side(self, name: str, rows: str | None) -> Column:
        column = self._column(name)
        return column if rows is None else column.select(_flat(self._column(rows)))

    def _column(self, name: str) -> Column:
        return self._columns[name]

    @functools.cached_property
    def _columns(self) -> dict[str, Column]:
        return {entry.name: self._map(entry) for entry in self.manifest.columns}

    def _map(self, entry: ColumnEntry) -> Column:
        shards = (
            Shard(self.folder / s.name, entry.kind, s.rows, self.manifest.fingerprint) for s in entry.shards
        )
        return Column(tuple(shards))

    def _inventory(self, split: str) -> str:
        texts = dict.fromkeys(t.language for t in self.manifest.texts if t.split == split)
        pairs = [f"{p.source}-{p.target}" for p in self.manifest.aligned if p.split == split]
        here = ", ".join([*texts, *pairs, *(t.name for t in self.manifest.tables if t.split == split)])
        return f"its {split} split has {here}" if here else f"its splits are {', '.join(self.splits())}"


def _flat(column: Column) -> NDArray[np.int64]:
    """All values of a column of numbers."""
    parts = [np.asarray(shard.values, np.int64) for shard in column.shards]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def count_pieces(column: Column, size: int) -> NDArray[np.int64]:
    """(size,) how often each id occurs; read in blocks, so that a corpus larger than memory can be counted."""
    total = np.zeros(size, np.int64)
    if column.selected is not None:
        for row in range(len(column)):
            total += np.bincount(column[row], minlength=size)
        return total
    block = 1 << 24
    for shard in column.shards:
        for start in range(0, len(shard.values), block):
            total += np.bincount(shard.values[start : start + block], minlength=size)
    return total
