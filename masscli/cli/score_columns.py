"""One column of a file for `masscli score`: of a table, CoNLL lines, JSONL, or examples of multiple choice.

In all functions `name` is what messages call the file, and `flag` the option that chooses the column.

A list in JSONL is a sentence of tags, like a sentence in CoNLL lines: one line for each word, and an empty
one between sentences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from masscli.core.digits import parse_digits
from masscli.core.errors import MasscliError
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.conll import CONLLU_UPOS, is_conllu, split_sentences
from masscli.data.formats.json_text import (
    JSONL_HINT,
    is_missing,
    json_lines,
    parse_json_at,
)
from masscli.data.formats.lettered_choices import flatten_choices
from masscli.data.formats.record import Record
from masscli.data.formats.registry import read_records
from masscli.data.storage.case_insensitive import CaseInsensitiveMapping

Sentences = list[list[tuple[int, list[str]]]]
"""Tagged sentences: a list of words for each, and for each word (line number in the file, columns)."""


@dataclass(frozen=True, slots=True)
class ScoreInput:
    """One file of hypotheses or references, reduced to the lines that are compared."""

    name: str
    lines: list[str]
    sentences: Sentences | None = None
    """The words of tagged sentences with all their columns; None if the lines are not tags."""
    column: int = 0
    """Index of the tags among the columns in `sentences`, from 0."""
    choices: list[int] | None = None
    """The number of choices of each example; None if the lines are not choices."""
    raw_json: bool = False
    """Whether the lines are JSON objects that are compared as they are, since no field was named."""
    bad_rows: BadRows = field(default_factory=BadRows)
    """What the reader of the file counted but did not read, such as comments, and what it doubts."""


def table_column(
    name: str, rows: Sequence[str], column: str | None, flag: str
) -> list[str]:
    """Return the values of the column `column` of a TSV file, whose first row is the header.

    Raises MasscliError if no column is chosen, if it does not exist or is ambiguous, or if a row has another
    number of columns. `flag` is the option that chooses a column, for messages.
    """
    header = rows[0].split("\t") if rows else []
    listed = ", ".join(header)
    if column is None:
        raise MasscliError(
            f"{name}: is a table, but no column is chosen",
            f"choose with {flag}; it has {listed}",
        )
    # As in the tasks, the case of column names does not matter.
    positions = CaseInsensitiveMapping(
        {title: position for position, title in enumerate(header)}
    )
    # The mapping has only the last of two columns with one name, and the user may mean the other one.
    if header.count(column) > 1:
        raise MasscliError(
            f"{name}: has two columns called {column!r}", f"it has {listed}"
        )
    if column not in positions:
        hint = f"it has {listed}"
        if column.isdigit():
            hint += "; or are these CoNLL lines? --ref-format conll"
        raise MasscliError(f"{name}: has no column {column!r}", hint)
    values = []
    for number, row in enumerate(rows[1:], 2):
        cells = row.split("\t")
        if len(cells) != len(header):
            raise MasscliError(
                f"{name}:{number}: has {len(cells)} columns, the header has {len(header)}"
            )
        values.append(cells[positions[column]])
    return values


def csv_column(name: str, path: Path, column: str | None, flag: str) -> list[str]:
    """Return the values of the column `column` of a comma-separated file, as `table_column` does."""
    values = []
    for record in read_records(path, "tsv"):
        texts = CaseInsensitiveMapping(record.texts)
        if column is None or column not in texts:
            problem = "no column is chosen" if column is None else f"has no {column!r}"
            raise MasscliError(
                f"{name}: {problem}", f"choose with {flag}; it has {', '.join(texts)}"
            )
        values.append(texts[column])
    return values


def choice_column(
    name: str, records: Sequence[Record], column: str, flag: str
) -> ScoreInput:
    """Return the right choice of each SWAG or RACE example, from the field `column`.

    The number of choices of each example is recorded in `choices`. Raises MasscliError if an example has no
    such field; `flag` is the option that chooses it, for messages.
    """
    lines, counts = [], []
    for record in records:
        texts = CaseInsensitiveMapping(record.texts)
        if column not in texts:
            raise MasscliError(
                f"{name}: has no column {column!r}",
                f"choose with {flag}; it has {', '.join(texts)}",
            )
        lines.append(texts[column])
        counts.append(len(record.lists["choices"]))
    return ScoreInput(name, lines, choices=counts)


def conll_column(
    name: str, rows: Sequence[str], column: str | None, flag: str
) -> ScoreInput:
    """Return one column of CoNLL lines: the number `column`, from 1, or else the default.

    The default is the column UPOS for CoNLL-U, otherwise the last column. Raises MasscliError if there is no
    such column; `flag` is the option that chooses it.
    """
    bad_rows = BadRows()
    sentences = list(split_sentences(rows, name, bad_rows))
    if not sentences:
        return ScoreInput(name, [], [], bad_rows=bad_rows)
    first_sentence = sentences[0]
    first_columns = first_sentence[0][1]
    width = len(first_columns)
    if column is None:
        column = str(width)
        first_cells = [columns[0] for _, columns in first_sentence]
        if is_conllu(first_columns, first_cells):
            column = CONLLU_UPOS
    number = parse_digits(column)
    if number is None or not 0 < number <= width:
        raise MasscliError(
            f"{name}: has no column {column!r}",
            f"columns of CoNLL lines are numbers, here 1 to {width}; see {flag}",
        )
    return replace(_tagged(name, sentences, number - 1), bad_rows=bad_rows)


def _tagged(name: str, sentences: Sentences, column: int) -> ScoreInput:
    """Return the tags, in the column with index `column`, as lines, with an empty line between sentences."""
    lines: list[str] = []
    for number, sentence in enumerate(sentences):
        if number > 0:
            lines.append("")
        lines += [columns[column] for _, columns in sentence]
    return ScoreInput(name, lines, sentences, column)


def jsonl_field(
    name: str, rows: Sequence[str], field: str | None, flag: str, choices: str = ""
) -> ScoreInput:
    """Return the field `field` of the JSON objects in `rows`: texts, numbers, truth values, or lists of tags.

    `choices` is the name of the field that lists the choices of an example, if there is one. Raises
    MasscliError if no field is chosen, or if an object lacks it; `flag` is the option that chooses it.
    """
    records = []
    for number, row in json_lines(rows, name):
        records.append(CaseInsensitiveMapping(parse_object(name, number, row)))
    if field is None:
        if len(records) == 1 and "data" in records[0]:
            raise MasscliError(
                f"{name}: is in the format of SQuAD",
                "score predictions with --metric squad",
            )
        listed = ", ".join(records[0]) if records else "no line"
        raise MasscliError(
            f"{name}: is JSONL, but no field is chosen",
            f"choose with {flag}; it has {listed}",
        )
    values = _field_values(name, records, field, flag)
    if values and isinstance(values[0], list):
        sentences: Sentences = []
        for number, value in enumerate(values, 1):
            assert isinstance(value, list)
            words = []
            for item in value:
                # A word has a single column here, its tag.
                words.append((number, [_as_text(item, f"{name}:{number}", field)]))
            sentences.append(words)
        return _tagged(name, sentences, 0)
    lines = []
    for number, value in enumerate(values, 1):
        lines.append(_as_text(value, f"{name}:{number}", field))
    return ScoreInput(name, lines, choices=_choice_counts(records, choices))


def _choice_counts(
    records: Sequence[Mapping[str, object]], field: str
) -> list[int] | None:
    """Return the length of the list `field` in each record, or None if a record has no such list."""
    counts = []
    for record in records:
        choices = record.get(field)
        if not isinstance(choices, list):
            return None
        counts.append(len(choices))
    return counts or None


def _field_values(
    name: str, records: Sequence[Mapping[str, object]], field: str, flag: str
) -> list[object]:
    """Return the value of `field` in each record.

    Raises MasscliError if a record lacks it, or if it is a list in some records but not in others.
    """
    values: list[object] = []
    for number, record in enumerate(records, 1):
        if field not in record:
            raise MasscliError(
                f"{name}:{number}: has no field {field!r}",
                f"it has {', '.join(record)}; choose with {flag}",
            )
        values.append(record[field])
        first_is_list = isinstance(values[0], list)
        if isinstance(values[-1], list) is not first_is_list:
            article = "no" if first_is_list else "a"
            raise MasscliError(
                f"{name}:{number}: {field!r} is {article} list, unlike in line 1"
            )
    return values


def parse_object(name: str, number: int, row: str) -> dict[str, object]:
    """Return the JSON object in line `number` of the file `name`; raise MasscliError if it is none."""
    parsed = parse_json_at(f"{name}:{number}", row, JSONL_HINT)
    if not isinstance(parsed, dict):
        raise MasscliError(
            f"{name}:{number}: expected an object, got {row[:40]}", JSONL_HINT
        )
    # Of CommonsenseQA and the like, the fields that `masscli preprocess` reads.
    return flatten_choices(parsed)


def _as_text(value: object, where: str, field: str | None) -> str:
    """Return a JSON value as text.

    Raises MasscliError, which names `where`, for null, NaN, infinity, lists and objects.
    """
    if is_missing(value) or isinstance(value, list | dict):
        raise MasscliError(
            f"{where}: {field!r} is {json.dumps(value)[:40]}, expected a string or a number"
        )
    if isinstance(value, str):
        return value
    # Numbers are compared as text, written as JSON writes them.
    return json.dumps(value)
