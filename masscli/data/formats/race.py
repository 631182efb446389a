"""RACE as it is distributed: reading comprehension as multiple choice (Lai et al. 2017)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from masscli.core.errors import MasscliError
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.json_text import json_lines, parse_json_at
from masscli.data.formats.multiple_choice import choice_record, fill_blank
from masscli.data.formats.record import Record
from masscli.text import corpus
from masscli.text.corpus import display_path

_HINT = (
    '{"article": ..., "questions": [...], "options": [[...], ...], "answers": ["A", ...]},'
    " with a list of options for each question"
)


def article_files(path: Path) -> list[Path]:
    """Return all .txt files in a folder and its subfolders, sorted; a path of a file gives that file."""
    if path.is_dir():
        return sorted(path.rglob("*.txt"))
    return [path]


def read_race(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """Yield a record for every question of every article.

    `path` is a folder of .txt files with one JSON object each, or a file with one object per line. Either all
    articles have answers or none has, as in a test set without labels; one that differs from the first is
    broken. A broken article is a bad row. Other files of the folder are counted in `bad_rows`.
    """
    if path.is_dir():
        others = sum(
            file.is_file() and file.suffix != ".txt" for file in path.rglob("*")
        )
        if others:
            bad_rows.unread["other file"] += others
    expect_answers: bool | None = None
    for name, file, line, text in _articles(path, bad_rows):
        # A file in a folder is one article, for which a line number is of no use.
        place = file if path.is_dir() else f"{file}:{line}"
        with bad_rows.row(file, line):
            article = parse_json_at(place, text, _HINT)
            try:
                context, questions, has_answers = _read_article(article)
                # A table has the same fields in every example.
                if expect_answers not in (None, has_answers):
                    raise KeyError("answers")
            except (KeyError, TypeError, ValueError) as error:
                raise MasscliError(
                    f"{place}: is not a RACE article ({error!r})", _HINT
                ) from None
            expect_answers = has_answers
            for number, (question, choices, answer) in enumerate(questions, 1):
                texts = {"id": f"{name}-{number}"}
                if has_answers:
                    texts["label"] = answer
                joined = [fill_blank(question, choice) for choice in choices]
                yield choice_record(number, context, question, choices, joined, texts)


def _articles(path: Path, bad_rows: BadRows) -> Iterator[tuple[str, str, int, str]]:
    """Yield (name, file, line, JSON text) of every article; the names become part of question ids."""
    if path.is_dir():
        for file in article_files(path):
            yield (
                _readable_name(file.relative_to(path)),
                display_path(file),
                1,
                "\n".join(corpus.iter_lines(file)),
            )
    else:
        for number, row in json_lines(
            corpus.iter_lines(path), display_path(path), bad_rows
        ):
            yield str(number), display_path(path), number, row


def _readable_name(path: Path) -> str:
    """Return a file name as valid Unicode; bytes that are not UTF-8 become backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _read_article(article: Any) -> tuple[str, list[tuple[str, list[str], str]], bool]:
    """Return the text of an article, a list of its questions, and whether it has answers.

    Each question is (question, choices, answer); without answers each answer is an empty string. Raises
    KeyError, TypeError or ValueError if it is not an article of RACE.
    """
    context = article["article"]
    questions = article["questions"]
    options = article["options"]
    has_answers = "answers" in article
    # Placeholders keep questions and options aligned if there are no answers.
    answers = article["answers"] if has_answers else [""] * len(questions)
    # Iterating over an object or a text would yield its keys or letters.
    if not all(isinstance(part, list) for part in (questions, options, answers)):
        raise TypeError("questions, options and answers are not lists")
    asked = list(zip(questions, options, answers, strict=True))
    for question, choices, answer in asked:
        if not isinstance(choices, list):
            raise TypeError("the options of a question are not a list")
        if not all(
            isinstance(text, str) for text in (context, question, answer, *choices)
        ):
            raise TypeError("a text is not a string")
    return context, asked, has_answers
