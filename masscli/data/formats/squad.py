"""SQuAD 1.1 and 2.0: questions about paragraphs, answered by spans of them (Rajpurkar et al. 2018).

A file is one object, as it is distributed, or has an object with a question in each line, as the library
`datasets` writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from masscli.core.errors import MasscliError
from masscli.core.json_text import parse_json
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.json_text import json_lines, parse_json_at
from masscli.data.formats.record import Record
from masscli.text import corpus
from masscli.text.corpus import display_path

_HINT = (
    '{"data": [{"paragraphs": [{"context": ..., "qas": [{"id": ..., "question": ...,'
    ' "answers": [{"text", "answer_start"}]}]}]}]}'
)

_ROW_HINT = (
    '{"id": ..., "question": ..., "context": ..., "answers": {"text": [...], "answer_start": [...]}}'
    " in each line"
)


def read_squad(path: Path, bad_rows: BadRows | None = None) -> Iterator[Record]:
    """Yield a record for every question, with its answers and the character at which each answer starts.

    A broken question is a bad row, which raises MasscliError if `bad_rows` is None. A question is also broken
    if an answer is blank, or not in the context where the file says it is. Raises MasscliError if the file
    around the questions is broken.
    """
    _, paragraphs = _read_file(path)
    yield from _read_questions(path, paragraphs, bad_rows or BadRows(), True)


def read_squad_to_score(path: Path) -> tuple[str, list[Record]]:
    """Return the version that a file gives itself, such as "v2.0", and a record for every question.

    The version is empty if the file has none. As in the official score, it does not matter whether an answer
    is in the context. Raises MasscliError if the file or a question is broken.
    """
    version, paragraphs = _read_file(path)
    return version, list(_read_questions(path, paragraphs, BadRows(), False))


def _read_questions(
    path: Path,
    paragraphs: Iterable[Mapping[str, Any]],
    bad_rows: BadRows,
    check_answers: bool,
) -> Iterator[Record]:
    """Yield a record for every question of the paragraphs of a file; a broken question is a bad row.

    With `check_answers`, a question is also broken if an answer is not in the context where it should be.
    """
    ids: set[str] = set()
    file = display_path(path)
    number = 0
    for paragraph in paragraphs:
        for question in paragraph["qas"]:
            number += 1
            name = number
            # Messages name the id, so that a user can find the question in the file.
            if isinstance(question, dict):
                name = question.get("id", number)
            place = f"{file}: question {name!r}"
            with bad_rows.row(file, number):
                record = _read_question(question, paragraph["context"], number, place)
                if record.texts["id"] in ids:
                    raise MasscliError(
                        f"{place}: another question has this id",
                        "question ids must be unique",
                    )
                if check_answers:
                    _check_answers(record, place)
                if bad_rows.needs_answers:
                    _require_answer(record, place)
                ids.add(record.texts["id"])
                yield record


def _read_file(path: Path) -> tuple[str, Iterable[Mapping[str, Any]]]:
    """Return the version that a file gives itself, or an empty text, and its paragraphs.

    A paragraph is an object with the text `context` and the list `qas` of its questions. Raises MasscliError
    if the file is not JSON, or, also while the paragraphs are read, if it has another form.
    """
    text = corpus.read_text(path)
    if _begins_with_question(text.split("\n", 1)[0]):
        return "", _rows(path, text)
    content = parse_json_at(display_path(path), text, _HINT)
    version = content.get("version") if isinstance(content, dict) else None
    return str(version or ""), _paragraphs(path, content)


def _paragraphs(path: Path, content: Any) -> Iterator[Mapping[str, Any]]:
    """Yield each paragraph of the content of a file. Raises MasscliError if it has another form."""
    try:
        for article in _require_list(content["data"]):
            for paragraph in _require_list(article["paragraphs"]):
                if not isinstance(paragraph["context"], str) or not isinstance(
                    paragraph["qas"], list
                ):
                    raise TypeError("a paragraph needs a context and qas")
                yield paragraph
    except (KeyError, TypeError) as error:
        raise MasscliError(
            f"{display_path(path)}: is not a SQuAD file ({error!r})", _HINT
        ) from None


def _begins_with_question(line: str) -> bool:
    """Return whether the first line of a file is a question, and not (the beginning of) the whole file."""
    # A whole file may be one long line, which should not be parsed twice.
    if '"paragraphs"' in line or not line.rstrip().endswith("}"):
        return False
    try:
        value = parse_json(line)
    except ValueError:
        return False
    return isinstance(value, dict) and "context" in value


def _rows(path: Path, text: str) -> Iterator[Mapping[str, Any]]:
    """Yield a paragraph with one question for each line of a file in JSONL.

    The answers of a line are lists of texts and of starts, both of which are empty if there is no answer.
    `text` is that of the file. Raises MasscliError for a line of another form.
    """
    name = display_path(path)
    for number, row in json_lines(corpus.split_lines(text), name):
        question = parse_json_at(f"{name}:{number}", row, _HINT)
        try:
            answers = question["answers"]
            pairs = zip(answers["text"], answers["answer_start"], strict=True)
            spans = [{"text": text, "answer_start": start} for text, start in pairs]
            context = question["context"]
            if not isinstance(context, str):
                raise TypeError("the context is not a text")
        except (KeyError, TypeError, ValueError) as error:
            raise MasscliError(
                f"{name}:{number}: is not a question of SQuAD ({error!r})", _ROW_HINT
            ) from None
        flat = {**question, "answers": spans, "is_impossible": not spans}
        yield {"context": context, "qas": [flat]}


def _whole_number(value: Any) -> int:
    """Return a whole number, which may be written as 3.0 or "3"; raise TypeError or ValueError for others."""
    number = int(value)
    # `int` would cut 3.7, and True is 1 to it.
    if isinstance(value, bool) or (isinstance(value, float) and value != number):
        raise TypeError("answer_start is not a whole number")
    return number


def _require_list(value: Any) -> list[Any]:
    """Return the value if it is a list, and raise TypeError otherwise.

    An empty object or text would otherwise pass as an empty list.
    """
    if not isinstance(value, list):
        raise TypeError("data, paragraphs and answers are lists")
    return value


def _read_question(question: Any, context: str, number: int, place: str) -> Record:
    """Return the record of a question, whose number in the file is `number`.

    Raises MasscliError, whose message begins with `place`, if the question has another form than in SQuAD.
    """
    try:
        # SQuAD 1.1 has no such field: all its questions have answers.
        is_impossible = question.get("is_impossible", False)
        # The text "False" would be true.
        if is_impossible not in (True, False):
            raise TypeError("is_impossible is neither true nor false")
        # Some versions of the data give such questions answers that are merely plausible.
        answers = [] if is_impossible else question.get("answers", [])
        answer_texts = []
        answer_starts = []
        for answer in _require_list(answers):
            answer_texts.append(answer["text"])
            answer_starts.append(_whole_number(answer["answer_start"]))
        if not isinstance(question["id"], str | int):
            raise TypeError("the id is neither a text nor a whole number")
        texts = {"id": str(question["id"]), "question": question["question"]}
        if not all(
            isinstance(text, str) for text in (texts["question"], *answer_texts)
        ):
            raise TypeError("a text is not a string")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MasscliError(
            f"{place}: is not a SQuAD question ({error!r})", _HINT
        ) from None
    return Record(
        number,
        texts,
        lists={"answers": answer_texts},
        numbers={"start": answer_starts, "impossible": [int(is_impossible)]},
        shared={"context": context},
    )


def _require_answer(record: Record, place: str) -> None:
    """Raise MasscliError if a question has no answer, and is not marked as impossible.

    The message begins with `place`.
    """
    if not record.lists["answers"] and not record.numbers["impossible"][0]:
        raise MasscliError(
            f"{place}: has no answer, and is not marked as impossible",
            'add its answers, or "is_impossible": true',
        )


def _check_answers(record: Record, place: str) -> None:
    """Raise MasscliError if an answer is blank, or is not in the context at the character where it starts.

    The message begins with `place`.
    """
    context = record.shared["context"]
    for answer, start in zip(
        record.lists["answers"], record.numbers["start"], strict=True
    ):
        # A start below 0 would be counted from the end of the context.
        is_there = start >= 0 and context[start : start + len(answer)] == answer
        if not answer.strip() or not is_there:
            raise MasscliError(
                f"{place}: answer {answer!r} is not in the context at character {start}",
                "answer_start counts characters of the context, from 0",
            )
