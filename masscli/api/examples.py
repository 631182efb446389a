"""Examples that a program hands over, as the records that a task reads from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from masscli.core.errors import MasscliError
from masscli.data.formats.jsonl import object_record
from masscli.data.formats.record import Record
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.labelled.options import TagOptions
from masscli.objectives.shared.table_options import TableOptions

Example = str | Sequence[str] | Mapping[str, str | Sequence[str]]
"""One example: a text; two texts, or the words of a sentence; or fields by name."""


def records_of(examples: Sequence[Example], options: TableOptions) -> tuple[str, list[Record]]:
    """Return the table format and the records of examples for a task.

    A text task takes a text, or two; a tagging task words, or a text that is split at white space; every task
    takes fields by name, with the names that it was trained on. Raises MasscliError for an example of another
    form than the first one, or than the task reads.
    """
    records = []
    for number, example in enumerate(examples, 1):
        if isinstance(example, Mapping):
            record = _of_fields(number, example, options)
        elif isinstance(options, TagOptions):
            words = example.split() if isinstance(example, str) else list(example)
            record = Record(number, lists={options.word_column: words})
        else:
            record = _of_texts(number, example, options)
        records.append(record)
        _check_fields(record, records[0])
    if isinstance(examples[0], Mapping) or isinstance(options, TagOptions):
        return options.formats[0], records
    return "lines", records


def _of_texts(number: int, example: str | Sequence[str], options: TableOptions) -> Record:
    """Return the record of a text, or of two."""
    if "tsv" not in options.formats:
        raise MasscliError(
            f"examples:{number}: {options.name} reads fields by name, not a text alone",
            '{"question": ..., "context": ...}, {"context": ..., "choices": [...]} or the like',
        )
    texts = [example] if isinstance(example, str) else example
    return Record(number, {str(column): text for column, text in enumerate(texts, 1)})


def _of_fields(number: int, example: Mapping[str, str | Sequence[str]], options: TableOptions) -> Record:
    """Return the record of fields by name: strings are texts, and other sequences lists."""
    texts = {name: value for name, value in example.items() if isinstance(value, str)}
    lists = {name: list(value) for name, value in example.items() if not isinstance(value, str)}
    if not isinstance(options, ExtractOptions):
        return object_record(number, texts, lists)
    missing = [name for name in ("question", "context") if name not in texts]
    if missing:
        raise MasscliError(f"examples:{number}: lacks {missing[0]!r}", "give a question and a context")
    context = texts.pop("context")
    # A SQuAD file has an id for each question.
    return Record(number, {"id": str(number), **texts}, lists, shared={"context": context})


def _check_fields(record: Record, first: Record) -> None:
    """Raise MasscliError for an example without the fields of the first one."""
    fields, expected = _field_names(record), _field_names(first)
    if fields != expected:
        raise MasscliError(
            f"examples:{record.line}: has {', '.join(fields)}, the first example has {', '.join(expected)}",
            "all examples have the same fields",
        )


def _field_names(record: Record) -> list[str]:
    return sorted([*record.texts, *record.lists, *record.shared])
