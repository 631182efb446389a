"""Open a data folder, the result of `masscli preprocess`, and find the columns and tables in it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from masscli.core import files
from masscli.core.config import suggest
from masscli.core.errors import MasscliError
from masscli.data.storage.case_insensitive import CaseInsensitiveMapping
from masscli.data.storage.columns import (
    Column,
    TextColumn,
    concatenate,
    count_pieces,
    flat_values,
)
from masscli.data.storage.manifest import ColumnEntry, Manifest, TableEntry, TextEntry
from masscli.data.storage.shards import Shard
from masscli.data.storage.stamps import Stamp, read_stamps, write_stamps
from masscli.data.storage.table_damage import find_damage
from masscli.data.storage.tables import Table
from masscli.text.tokenizer_card import TOKENIZER_FILE, read_card
from masscli.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from masscli.text.tokenizer import Tokenizer

_DAMAGED_HINT = "copy the folder again, or run masscli preprocess with --overwrite"


class MissingDataError(MasscliError):
    """A data folder lacks the text, pair or table that was asked for."""


class DataFolder:
    """An opened data folder, which gives access to its text, aligned pairs and tables."""

    def __init__(self, folder: Path, manifest: Manifest, vocab: Vocabulary) -> None:
        self.folder = folder
        self.manifest = manifest
        self.vocab = vocab
        self.languages = manifest.languages
        self.pairs = manifest.pairs
        self._piece_counts: dict[str, NDArray[np.int64]] = {}

    @classmethod
    def open(cls, folder: Path) -> DataFolder:
        """Open a data folder after checking its manifest, vocabulary, sizes of files and headers of shards.

        Checksums are not compared; `verify` does that. Raises MasscliError if something is missing or
        damaged.
        """
        manifest = Manifest.read(folder)
        # Sizes and headers are checked at every start, which is cheap; checksums only by `verify`.
        for file in manifest.files:
            path = folder / file.name
            if not path.is_file():
                raise MasscliError(f"{path}: is missing", _DAMAGED_HINT)
            size = path.stat().st_size
            if size != file.size:
                raise MasscliError(
                    f"{path}: has {size} bytes instead of {file.size}", _DAMAGED_HINT
                )
        # Token ids are meaningful only with the vocabulary that made them.
        card = read_card(folder)
        if card.fingerprint != manifest.vocab_fingerprint:
            raise MasscliError(
                f"{folder / TOKENIZER_FILE}: is not the vocabulary that these shards were made with",
                "put the original file back",
            )
        data = cls(folder, manifest, card.vocabulary())
        for column in data._columns.values():
            for shard in column.shards:
                shard.check()
        return data

    def verify(
        self,
        *,
        again: bool = True,
        progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> None:
        """Compare the checksum of every file with the manifest, and store what has been verified.

        With `again` false, files that matched before and have not changed since are not read. `progress` is
        called after each file that is read, with the number of bytes done and that of the whole folder.
        Raises MasscliError that names a damaged file.
        """
        total = sum(file.size for file in self.manifest.files)
        done = 0
        stamps = {} if again else read_stamps(self.folder)
        verified = {}
        for file in self.manifest.files:
            path = self.folder / file.name
            # The stamp is taken before the file is read, so that a change meanwhile is noticed next time.
            stamp = Stamp.of(path, file.sha256)
            if stamps.get(file.name) != stamp and files.sha256_of(path) != file.sha256:
                raise MasscliError(
                    f"{path}: does not match its checksum", _DAMAGED_HINT
                )
            verified[file.name] = stamp
            done += file.size
            if stamps.get(file.name) != stamp:
                progress(done, total)
        if verified != stamps:
            write_stamps(self.folder, verified)

    def tokenizer(self) -> Tokenizer:
        """Load the tokenizer by which the token ids of this folder were made."""
        # SentencePiece is loaded only here, since few users of a folder need text.
        from masscli.text.tokenizer import Tokenizer

        return Tokenizer.load(self.folder)

    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits in the folder, such as train, valid, valid1, test."""
        return self.manifest.splits()

    @property
    def table_formats(self) -> dict[str, str]:
        """The name of each labeled table, mapped to the format of the file that it was read from."""
        return {table.name: table.format for table in self.manifest.tables}

    def table(self, name: str, split: str) -> Table:
        """Return the table `name` of one split.

        Raises MissingDataError if that split has no such table, and MasscliError if its columns do not fit
        each other.
        """
        entries = {
            entry.split: entry for entry in self.manifest.tables if entry.name == name
        }
        if split in entries:
            return self._open_table(entries[split])
        if entries:
            hint = f"it has {', '.join(entries)}"
        else:
            hint = f"its tables are {', '.join(self.table_formats) or 'none'}"
        raise MissingDataError(f"{self.folder}: has no {split} split of {name}", hint)

    def monolingual(self, split: str, language: str) -> Column:
        """Return the token ids of the monolingual text of a language in one split, as one column.

        In the split train this is the text of the monolingual files and, if the folder was made with
        `--pairs-as-mono`, of the sides of pairs. In other splits it is the text of the monolingual files, or
        of the sides of pairs if there are none. Raises MissingDataError if there is no text, and MasscliError
        if the folder does not have the language.
        """
        # In training the user chooses whether sides of pairs count as monolingual text. Held-out text
        # is only used for measurement, so any text will do.
        monolingual = []
        from_pairs = []
        for entry in self._texts(split, language):
            if entry.monolingual:
                monolingual.append(entry)
            else:
                from_pairs.append(entry)
        if split != "train":
            chosen = monolingual or from_pairs
        elif self.manifest.pairs_as_mono:
            chosen = monolingual + from_pairs
        else:
            chosen = monolingual
        if not chosen:
            raise MissingDataError(
                f"{self.folder}: has no monolingual {split} text of {language!r}",
                self._inventory(split),
            )
        return concatenate([self._columns[entry.column] for entry in chosen])

    def piece_counts(self, language: str) -> NDArray[np.int64]:
        """Return how often each token id occurs in the monolingual training text of a language, (V,).

        V is the size of the vocabulary; the text is that of `monolingual`, which also says what is raised if
        there is none. The result is cached, since several translation directions may need it.
        """
        if language not in self._piece_counts:
            text = self.monolingual("train", language)
            self._piece_counts[language] = count_pieces(text, self.vocab.size)
        return self._piece_counts[language]

    def aligned_pairs(self, split: str) -> list[tuple[str, str]]:
        """Return the language pairs of which a split has aligned text, each in the order of `preprocess`."""
        return [
            (entry.source, entry.target)
            for entry in self.manifest.aligned
            if entry.split == split
        ]

    def aligned_rows(
        self, split: str, pair: tuple[str, str], limit: int | None = None
    ) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
        """Return the token ids of the first `limit` sentence pairs of a split (None: of all), by side.

        Raises as `pair` does.
        """
        first, second = self.pair(split, *pair)
        rows = range(len(first))[:limit]
        return [first[row] for row in rows], [second[row] for row in rows]

    def pair(self, split: str, source: str, target: str) -> tuple[Column, Column]:
        """Return the token ids of a language pair in one split, as aligned columns (source, target).

        `source` and `target` may be the reverse of the pair that was preprocessed. Raises MissingDataError if
        there is no such pair, and MasscliError if its sides do not fit each other.
        """
        for pair in self.manifest.aligned:
            if pair.split == split and {pair.source, pair.target} == {source, target}:
                first = self._side(pair.source_column, pair.source_rows)
                second = self._side(pair.target_column, pair.target_rows)
                if len(first) != len(second):
                    raise MasscliError(
                        f"{self.folder}: is damaged (the {split} text of {source} and {target} has "
                        f"{len(first)} and {len(second)} rows)",
                        _DAMAGED_HINT,
                    )
                if source == pair.source:
                    return first, second
                return second, first
        raise MissingDataError(
            f"{self.folder}: has no pairs {source}-{target} in its split {split}",
            self._inventory(split),
        )

    def original_lines(
        self, split: str, pair_or_language: str, language: str
    ) -> list[str]:
        """Return the lines of a validation or test set before tokenization, as references for scoring.

        With a pair such as `en-de` they are its side in `language`; otherwise `pair_or_language` is the
        language itself. Raises MasscliError if the folder has no such text, or does not keep its lines.
        """
        for pair in self.manifest.aligned:
            # The user may name the pair in the opposite direction to that in which it was preprocessed.
            names = (f"{pair.source}-{pair.target}", f"{pair.target}-{pair.source}")
            if pair.split == split and pair_or_language in names:
                column = pair.target_column
                if language == pair.source:
                    column = pair.source_column
                entry = next(
                    text for text in self.manifest.texts if text.column == column
                )
                return self._original_lines(entry)
        entries = []
        if pair_or_language == language:
            entries = self._texts(split, language)
        # The same choice as in `monolingual`, so that the lines belong to its rows.
        chosen = [entry for entry in entries if entry.monolingual] or entries
        if not chosen:
            raise MasscliError(
                f"{self.folder}: has no text of {pair_or_language} in its split {split}",
                self._inventory(split),
            )
        lines = []
        for entry in chosen:
            lines += self._original_lines(entry)
        return lines

    def _original_lines(self, entry: TextEntry) -> list[str]:
        """Return the lines of a text before any preprocessing. Raises MasscliError if they are not kept."""
        if entry.original is None:
            raise MasscliError(
                f"{self.folder}: keeps no lines of {entry.split}, only their ids",
                "the files that were preprocessed have them",
            )
        column = self._columns[entry.original]
        return [column.text(row) for row in range(len(column))]

    def _texts(self, split: str, language: str) -> list[TextEntry]:
        """Return the manifest entries of the text of a language in one split, from pairs as well.

        Raises MasscliError if the folder does not have the language.
        """
        if language not in self.languages:
            raise MasscliError(
                f"{self.folder}: has no language {language!r}{suggest(language, self.languages)}"
            )
        return [
            text
            for text in self.manifest.texts
            if text.split == split and text.language == language
        ]

    def _side(self, name: str, rows: str | None) -> Column:
        """Return one side of a pair: the column `name`, or a selection of its rows.

        `rows` names the column that holds the selected row numbers, and is None if all rows belong to the
        pair.
        """
        column = self._columns[name]
        if rows is None:
            return column
        # Several pairs may share the text of a language, but each uses different rows.
        numbers = flat_values(self._columns[rows])
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= len(column)):
            raise MasscliError(
                f"{self.folder}: is damaged ({rows} names rows that {name} lacks)",
                _DAMAGED_HINT,
            )
        return column.select(numbers)

    @functools.cached_property
    def _columns(self) -> dict[str, Column]:
        return {entry.name: self._open_column(entry) for entry in self.manifest.columns}

    def _open_table(self, entry: TableEntry) -> Table:
        """Return the table of a manifest entry. Raises MasscliError if its columns do not fit each other."""
        columns = {field.name: self._columns[field.column] for field in entry.fields}
        damage = find_damage(columns, entry.rows)
        if damage is not None:
            raise MasscliError(
                f"{self.folder}: table {entry.name} is damaged ({damage})",
                _DAMAGED_HINT,
            )
        return Table(
            name=entry.name,
            split=entry.split,
            format=entry.format,
            language=entry.language,
            path=entry.path,
            columns=CaseInsensitiveMapping[TextColumn](columns),
            rows=entry.rows,
        )

    def _open_column(self, entry: ColumnEntry) -> Column:
        """Return the column of a manifest entry. No file is opened yet."""
        # Only token ids have an upper limit; bytes of text and numbers are not checked against the
        # vocabulary.
        fingerprint = self.manifest.vocab_fingerprint
        vocab_size = self.vocab.size if entry.kind == "ids" else None
        shards = []
        for shard in entry.shards:
            stem = self.folder / shard.name
            shards.append(
                Shard(
                    stem, entry.kind, shard.rows, fingerprint, vocab_size, shard.values
                )
            )
        return Column(tuple(shards))

    def _inventory(self, split: str) -> str:
        """Return a hint that lists the languages, pairs and tables that a split has.

        If it has none, the hint lists the splits of the folder.
        """
        names: list[str] = []
        for text in self.manifest.texts:
            # Several files may be text of one language.
            if text.split == split and text.language not in names:
                names.append(text.language)
        for pair in self.manifest.aligned:
            if pair.split == split:
                names.append(f"{pair.source}-{pair.target}")
        for table in self.manifest.tables:
            if table.split == split:
                names.append(table.name)
        if names:
            return f"its {split} split has {', '.join(names)}"
        return f"its splits are {', '.join(self.splits())}"
