"""JSON Lines: one object per line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.json_text import read_objects
from masscli.data.formats.multiple_choice import QUESTION, fill_blank
from masscli.data.formats.record import Record
from masscli.data.storage.tables import WITH_QUESTION


def read_jsonl(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """Yield a record for every object; strings and numbers are texts, lists of strings are lists.

    A line that is no object, or an object without the fields of the first one, is a bad row. Where there is a
    question, the items of each list are also stored together with it, as multiple choice needs them.
    """
    for number, texts, lists in read_objects(path, bad_rows):
        yield object_record(number, texts, lists)


def object_record(number: int, texts: Mapping[str, str], lists: Mapping[str, Sequence[str]]) -> Record:
    """Return the record of an object with these fields."""
    fields = dict(lists)
    if QUESTION in texts:
        for name, items in lists.items():
            fields[f"{name}{WITH_QUESTION}"] = [fill_blank(texts[QUESTION], item) for item in items]
    return Record(number, texts, fields)
