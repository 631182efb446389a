"""Helpers for the formats of multiple choice: joining a choice to its question, and reading labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from masscli.core.digits import parse_digits
from masscli.data.formats.record import Record
from masscli.data.storage.tables import WITH_QUESTION

QUESTION = "question"
"""The name of the field that holds the question."""


def choice_record(
    line: int,
    context: str,
    question: str,
    choices: Sequence[str],
    joined: Sequence[str],
    other_texts: Mapping[str, str],
) -> Record:
    """Return the record of an example of multiple choice.

    It has the text fields `context`, `question` and `other_texts`, and the list fields `choices` and
    `choices+question`; the latter is `joined`, which holds each choice together with the question.
    """
    texts = {"context": context, QUESTION: question, **other_texts}
    return Record(line, texts, {"choices": choices, f"choices{WITH_QUESTION}": joined})


def fill_blank(question: str, choice: str) -> str:
    """Return the question with the choice in place of each blank: an underscore, or several in a row.

    A question without a blank is followed by a space and the choice.
    """
    # RACE and similar sets mark the blank of a cloze question with an underscore, others with a line of them.
    parts = re.split("_+", question)
    if len(parts) > 1:
        return choice.join(parts)
    return f"{question} {choice}"


def choice_index(label: str, count: int) -> int | None:
    """Return the index, from 0, of the choice that a label means, or None if it means none of `count`.

    A label is a number that counts from 0, or a capital letter from A.
    """
    # SWAG has numbers, and RACE has letters.
    index = parse_digits(label)
    if len(label) == 1 and "A" <= label <= "Z":
        index = ord(label) - ord("A")
    if index is not None and 0 <= index < count:
        return index
    return None
