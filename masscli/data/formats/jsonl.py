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
    """Yield a record for every object; strings, numbers and booleans become texts, lists of them lists.

    A line that is not an object, or an object that has other fields than the first one or other values, is a
    bad row. If there is a field `question`, each list field gets a companion `NAME+question`, whose items
    include the question, as models for multiple choice need them.
    """
    for number, texts, lists in read_objects(path, bad_rows):
        yield object_record(number, texts, lists)


def object_record(
    number: int, texts: Mapping[str, str], lists: Mapping[str, Sequence[str]]
) -> Record:
    """Return the record of a JSON object with these text and list fields, which begins at line `number`.

    If there is a text field `question`, each list field gets a companion `NAME+question`: the question with
    the item in place of each blank (`_`), or after it.
    """
    fields = dict(lists)
    if QUESTION in texts:
        for name, items in lists.items():
            fields[f"{name}{WITH_QUESTION}"] = [
                fill_blank(texts[QUESTION], item) for item in items
            ]
    return Record(number, texts, fields)
