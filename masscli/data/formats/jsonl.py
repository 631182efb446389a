"""JSON Lines: one object per line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.json_text import read_objects
from masscli.data.formats.multiple_choice import QUESTION, fill_blank
from masscli.data.formats.record import Record
from masscli.data.storage.case_insensitive import CaseInsensitiveMapping
from masscli.data.storage.tables import WITH_QUESTION
from masscli.text.corpus import display_path


def read_jsonl(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """Yield a record for every object; strings, numbers and booleans become texts, lists of them lists.

    A line that is not an object, or an object that has other fields than the first one or other values, is a
    bad row. If there is a field `question`, each list field gets a companion `NAME+question`, whose items
    include the question, as models for multiple choice need them. Raises MasscliError for a field of such a
    name.
    """
    for number, texts, lists in read_objects(path, bad_rows):
        yield object_record(number, texts, lists, f"{display_path(path)}:{number}")


def object_record(
    number: int,
    texts: Mapping[str, str],
    lists: Mapping[str, Sequence[str]],
    place: str,
) -> Record:
    """Return the record of a JSON object with these text and list fields, which begins at line `number`.

    If there is a text field `question`, in any capitalization, each list field gets a companion
    `NAME+question`: the question with the item in place of each blank (`_`), or after it. Raises
    MasscliError, whose message begins with `place`, if a field has the name of a companion.
    """
    for name in (*texts, *lists):
        if name.endswith(WITH_QUESTION):
            raise MasscliError(
                f"{place}: a column cannot be called {name!r}",
                "masscli uses this name itself: rename the column",
            )
    fields = dict(lists)
    question = CaseInsensitiveMapping(texts).get(QUESTION)
    if question is not None:
        for name, items in lists.items():
            fields[f"{name}{WITH_QUESTION}"] = [
                fill_blank(question, item) for item in items
            ]
    return Record(number, texts, fields)
