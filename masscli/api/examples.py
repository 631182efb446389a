"""Convert examples that a program passes to `predict` into the records that a task reads from files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from masscli.api.texts import require_text
from masscli.core.errors import MasscliError
from masscli.data.formats.jsonl import object_record
from masscli.data.formats.record import Record
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.labeled.options import TagOptions
from masscli.objectives.shared.table_options import TableOptions

Example = str | Sequence[str] | Mapping[str, str | Sequence[str]]
"""One example for a task to predict, in one of three forms.

A string is a text. A sequence of strings holds two texts (a pair), or the words of a sentence for tagging. A
mapping holds fields by name; a value is a text or a list of texts.
"""

WORDS = "1"
"""The field of the words of a sentence if an imported model does not say which field it reads: the first
column, as in files."""


def records_of(
    examples: Sequence[Example], options: TableOptions
) -> tuple[str, list[Record]]:
    """Return (table format, records) of examples for the task that `options` describe.

    A classification or regression task takes one text or two; a tagging task takes words, or a text that is
    split at white space; every task takes fields by name, with the names that it was trained on. Raises
    MasscliError for an example with other fields than the first one has, or in a form that the task does not
    read.
    """
    records = []
    for number, example in enumerate(examples, 1):
        _check_types(number, example)
        if isinstance(example, Mapping):
            record = _of_fields(number, example, options)
        elif isinstance(options, TagOptions):
            words = example.split() if isinstance(example, str) else list(example)
            record = Record(number, lists={options.word_column or WORDS: words})
        else:
            record = _of_texts(number, example, options)
        records.append(record)
        _check_fields(record, records[0])
    if isinstance(examples[0], Mapping) or isinstance(options, TagOptions):
        return options.formats[0], records
    return "lines", records


def _check_types(number: int, example: Any) -> None:
    """Raise MasscliError if an example, or a field of it, is neither a text nor a sequence of texts.

    `number` is the number of the example, from 1.
    """
    values = example.values() if isinstance(example, Mapping) else [example]
    for value in values:
        if isinstance(value, str):
            require_text(f"examples:{number}", value)
            continue
        is_list = isinstance(value, Collection) and not isinstance(value, Mapping)
        if not (is_list and all(isinstance(item, str) for item in value)):
            raise MasscliError(
                f"examples:{number}: a {type(value).__name__} is neither a text nor a list of texts",
                "turn numbers and the like into strings",
            )
        for item in value:
            require_text(f"examples:{number}", item)


def _of_texts(
    number: int, example: str | Sequence[str], options: TableOptions
) -> Record:
    """Return the record of one text or of several, whose fields are named "1", "2" and so on.

    `number` is the number of the example, from 1. Raises MasscliError if the task reads only fields by name.
    """
    if "tsv" not in options.formats:
        raise MasscliError(
            f"examples:{number}: {options.name} reads fields by name, not a text alone",
            '{"question": ..., "context": ...}, {"context": ..., "choices": [...]} or the like',
        )
    texts = example
    if isinstance(example, str):
        texts = [example]
    return Record(number, {str(column): text for column, text in enumerate(texts, 1)})


def _of_fields(
    number: int, example: Mapping[str, str | Sequence[str]], options: TableOptions
) -> Record:
    """Return the record of an example that is given as fields by name.

    A string becomes a text field, any other sequence a list field. For extractive question answering the
    context becomes a shared field, and the number of the example is the default id; raises MasscliError if
    the question or the context is missing.
    """
    texts = {}
    lists = {}
    for name, value in example.items():
        # A string is a sequence as well, of its letters.
        if isinstance(value, str):
            texts[name] = value
        else:
            lists[name] = list(value)
    if not isinstance(options, ExtractOptions):
        return object_record(number, texts, lists, f"examples:{number}")
    missing = [name for name in ("question", "context") if name not in texts]
    if missing:
        raise MasscliError(
            f"examples:{number}: lacks {missing[0]!r}", "give a question and a context"
        )
    context = texts.pop("context")
    # A SQuAD file has an id for each question.
    return Record(
        number, {"id": str(number), **texts}, lists, shared={"context": context}
    )


def _check_fields(record: Record, first: Record) -> None:
    """Raise MasscliError if a record has other fields than the record of the first example."""
    fields, expected = _field_names(record), _field_names(first)
    if fields != expected:
        raise MasscliError(
            f"examples:{record.line}: has {', '.join(fields)}, the first example has {', '.join(expected)}",
            "all examples have the same fields",
        )


def _field_names(record: Record) -> list[str]:
    return sorted([*record.texts, *record.lists, *record.shared])
