"""Read JSON and JSON Lines; errors become a MasscliError with a one-line message."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from masscli.core.errors import MasscliError
from masscli.core.json_text import HalfCharacterError, RepeatedNameError, parse_json
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.lettered_choices import flatten_choices
from masscli.text import corpus
from masscli.text.corpus import display_path

JSONL_HINT = "JSONL has one object per line"


def is_missing(value: object) -> bool:
    """Return whether a JSON value stands for none: null or, as some programs write it, NaN or infinity.

    As a text they would look like a label.
    """
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def parse_json_at(place: str, text: str, hint: str) -> Any:
    """Parse a JSON text and return its value.

    Raises MasscliError, whose message begins with `place`, if the text is not JSON (then with `hint`), holds
    an unpaired surrogate, or has an object with a name twice.
    """
    try:
        return parse_json(text, distinct_names=True)
    except RepeatedNameError as error:
        raise MasscliError(
            f"{place}: {error}", "only one of the two values could be read"
        ) from None
    except HalfCharacterError as error:
        raise MasscliError(
            f"{place}: {error}", "write the whole character, or remove it"
        ) from None
    except ValueError as error:
        raise MasscliError(f"{place}: not JSON ({error})", hint) from None


def json_lines(
    rows: Iterable[str], name: str, bad_rows: BadRows | None = None
) -> Iterator[tuple[int, str]]:
    """Yield the line number and the text of every line of a JSONL file, without parsing it.

    Blank lines are allowed at the end only, so that line numbers mean the same to every reader. One before
    the end is a bad row, which raises MasscliError if `bad_rows` is None. `name` is the file that messages
    name.
    """
    bad_rows = bad_rows or BadRows()
    # A blank line is only an error if another line follows it.
    first_blank = 0
    for number, row in enumerate(rows, 1):
        if not row.strip():
            first_blank = first_blank or number
            continue
        if first_blank:
            hint = f"{JSONL_HINT}; blank lines may stand at the end only"
            bad_rows.add(
                name, first_blank, MasscliError(f"{name}:{first_blank}: is blank", hint)
            )
            first_blank = 0
        yield number, row


def read_objects(
    path: Path, bad_rows: BadRows
) -> Iterator[tuple[int, dict[str, str], dict[str, list[str]]]]:
    """Yield the line number, the text fields and the list fields of every object of a JSONL file.

    Choices with letters (CommonsenseQA, ARC) are flattened. Numbers and booleans become strings, as
    `json.dumps` writes them (1.50 becomes 1.5). A line is a bad row if it is not an object, if its fields are
    not those of the first object, or if a value is null, an object, or a list of anything but strings,
    numbers and booleans.
    """
    # Whether each field of the first object is a list.
    expected: dict[str, bool] = {}
    file = display_path(path)
    for number, row in json_lines(corpus.iter_lines(path), file, bad_rows):
        with bad_rows.row(file, number):
            texts, lists = _read_object(row, f"{file}:{number}", expected)
            # A field that is sometimes a list would have no defined column type.
            expected = expected or {
                **dict.fromkeys(texts, False),
                **dict.fromkeys(lists, True),
            }
            yield number, texts, lists


def _read_object(
    row: str, place: str, expected: dict[str, bool]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the text fields and the list fields of the object in one line, in the order of the first object.

    `expected` says for each field of the first object whether it is a list; it is empty for the first
    object itself. Raises MasscliError, which names `place`, if the line is not an object with these
    fields.
    """
    hint = JSONL_HINT
    # Many programs write all examples as one array.
    if row.startswith("["):
        hint += "; of a file that is an array, jq -c '.[]' makes such lines"
    value = parse_json_at(place, row, hint)
    if not isinstance(value, dict):
        raise MasscliError(f"{place}: expected an object, got {row[:40]}", hint)
    # Without this check, an empty first object would allow those after it any fields.
    if not value:
        raise MasscliError(f"{place}: the object has no fields", JSONL_HINT)
    value = flatten_choices(value)
    is_list = {name: isinstance(item, list) for name, item in value.items()}
    _check_fields(is_list, expected or is_list, place)
    texts: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    # The order of the fields is that of the first object.
    for name in expected or is_list:
        if is_list[name]:
            lists[name] = [_as_text(item, f"{place}: {name}") for item in value[name]]
        else:
            texts[name] = _as_text(value[name], f"{place}: {name}")
    return texts, lists


def _check_fields(
    is_list: dict[str, bool], expected: dict[str, bool], place: str
) -> None:
    """Raise MasscliError if the fields of an object are not those of the first line.

    Both dictionaries say for each field whether it is a list.
    """
    hint = f"the first line has {', '.join(expected)}"
    for name, expect_list in expected.items():
        if name not in is_list:
            raise MasscliError(f"{place}: lacks {name!r}, unlike the first line", hint)
        if is_list[name] and not expect_list:
            raise MasscliError(
                f"{place}: has a list in {name!r}, unlike the first line", hint
            )
        if expect_list and not is_list[name]:
            raise MasscliError(
                f"{place}: has no list in {name!r}, unlike the first line", hint
            )
    for name in is_list:
        if name not in expected:
            raise MasscliError(
                f"{place}: has {name!r}, which the first line does not have", hint
            )


def _as_text(value: object, place: str) -> str:
    """Return a value of an object as text: a string unchanged, a number or a boolean as JSON writes it.

    Raises MasscliError, whose message begins with `place`, for null, NaN, infinity, an object or a list.
    """
    if isinstance(value, str):
        return value
    missing = is_missing(value)
    if not missing and not isinstance(value, list | dict):
        return json.dumps(value)
    if missing:
        hint = 'an empty text is ""; leave out an example, or a field of all examples, that has no value'
    else:
        hint = (
            f"{JSONL_HINT}, with texts, numbers and lists of texts as values;"
            " RACE files are read with --race or --input-format race, and translations from aligned files"
            " (preprocess --trainpref)"
        )
    raise MasscliError(
        f"{place}: expected a string or a number, got {json.dumps(value)[:40]}", hint
    )
