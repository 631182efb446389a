"""Labelled files to columns of a data folder.  All of it is done again when a run was killed: labelled data are small beside text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masscli.data.formats.readers import FORM, Record, read, universal
from masscli.data.prepare.encoding import Rows
from masscli.data.prepare.inputs import Labelled
from masscli.data.storage.columns import Writer
from masscli.data.storage.manifest import ColumnEntry, FieldEntry, ShardEntry, TableEntry
from masscli.data.storage.tables import Encoder, shown_all
from masscli.text.char_offsets import SHARED_TEXT_WORD
from masscli.text.tokenizer import Tokenizer

UNSPACED = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]{2}"
)
"""Two letters of a script that puts no space between words: Thai to Burmese, Khmer, kana, Chinese."""
DTYPES = {"text": "|u1", "int": "<i8"}


@dataclass(frozen=True, slots=True)
class Made:
    """A table of the folder, and its columns."""

    table: TableEntry
    columns: tuple[ColumnEntry, ...]


def tabulate(
    wanted: Labelled, language: str, tokenizer: Tokenizer, folder: Path, ids: str, limit: int
) -> Made:
    """Write one labelled file into `folder`; `ids` is the type of token ids, `limit` the largest shard in bytes."""
    encoder = Encoder(tokenizer, language)
    stem, names = f"{wanted.split}.{wanted.name}", list[str]()
    writers: dict[str, Writer] = {}
    for old in folder.glob(f"{stem}.field*"):
        old.unlink()  # of a run that was killed
    count = 0
    try:
        for rows, columns in encoder.blocks(read(wanted.path, wanted.kind)):
            for name, block in columns.items():
                if name not in writers:
                    kind = encoder.kinds[name]
                    place = folder / f"{stem}.field{len(names)}"
                    writers[name] = Writer(
                        place, kind, DTYPES.get(kind, ids), tokenizer.vocab.fingerprint, limit
                    )
                    names.append(name)
                _append(writers[name], block, count == 0)
            count += rows
        done = {name: writer.finish() for name, writer in writers.items()}
    finally:
        for writer in writers.values():
            writer.close()
    found = []
    for n, name in enumerate(names):
        shards = tuple(
            ShardEntry(name=piece.file, rows=piece.rows, values=piece.values) for piece in done[name]
        )
        found.append(ColumnEntry(name=f"{stem}.field{n}", kind=encoder.kinds[name], shards=shards))
    fields = tuple(FieldEntry(name=name, column=f"{stem}.field{n}") for n, name in enumerate(names))
    path = shown_all(wanted.path, wanted.kind)
    table = TableEntry(
        name=wanted.name,
        split=wanted.split,
        format=wanted.kind,
        language=language,
        path=path,
        rows=count,
        fields=fields,
    )
    return Made(table, tuple(found))


def is_text(value: str) -> bool:
    """Whether a value is more than a word: a field that has such values is text, and neither a number nor a label."""
    return " " in value or UNSPACED.search(value) is not None


def running_text(tables: Sequence[Labelled], most: int, seed: int) -> list[str]:
    """Text to train a vocabulary on: at most so many lines of the training files' fields of text (`is_text`), and in CoNLL-U the words
    alone."""
    found = [
        line for table in tables if table.split == "train" for line in _texts(read(table.path, table.kind))
    ]
    if len(found) <= most:
        return found
    chosen = np.random.default_rng(seed).choice(len(found), most, replace=False, shuffle=False)
    return [found[at] for at in np.sort(chosen).tolist()]


def _texts(records: Iterator[Record]) -> Iterator[str]:
    columns: dict[str, list[str]] = {}
    for record in records:
        for name, text in (*record.texts.items(), *record.shared.items()):
            columns.setdefault(name, []).append(text)
        lists = record.lists
        if universal(tuple(lists), lists.get("1", ())):
            lists = {FORM: lists[FORM]}
        for name, items in lists.items():
            columns.setdefault(name, []).append(" ".join(items))
    for texts in columns.values():
        if any(map(is_text, texts)):
            yield from (
                " ".join(SHARED_TEXT_WORD.findall(text)) for text in dict.fromkeys(texts) if text.strip()
            )


def _append(writer: Writer, rows: Rows, first: bool) -> None:
    writer.append(rows.values, rows.lengths, [0] if first and len(rows.lengths) else ())
