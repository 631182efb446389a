"""Labelled data as it is distributed: TSV with a header, JSONL, CoNLL columns, SQuAD, SWAG, RACE, dialogues, aligned files; to records.

A record is one example with named fields.  What a field means (text, label, number) is the business of the objective that reads it; here a
row must only have the fields that the file promises.  Whatever is wrong is named by file and line (by question, in SQuAD's JSON).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from masscli.core.errors import MasscliError
from masscli.text import corpus
from masscli.text.corpus import display_path

TURN = "\t"
QUESTION = "question"
"""The field of a question that belongs to the choices beside it."""
ASKED = "+question"
"""Ends the name of a list field whose items are those of another one, joined with the question beside it."""
WHERE = "line"
"""The field that says where in its file a record came from."""
PARTS = ("ids", "items", "at", "begin", "end")
"""What stands behind the name of a field, and a dot, in what a table has besides (masscli/data/storage/tables.py)."""
LONGEST = 2000
"""Words of a sentence beyond which a file is none of sentences."""
CONLLU, FORM, UPOS = 10, "2", "4"
"""Columns of CoNLL-U: how many there are, and those of the words and of their part of speech."""


@dataclass(frozen=True, slots=True)
class Record:
    """One example.  `texts` are strings; `lists` are lists of strings (words, choices, turns); `numbers` are lists of whole numbers;
    `shared` are long texts that many records have in common, cut at white space, with the place of every piece remembered."""

    line: int
    texts: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    numbers: Mapping[str, Sequence[int]] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)


def read(path: Path, kind: str) -> Iterator[Record]:
    """The records of a file, or of several joined by `:` where that is how their kind is given."""
    found = READERS[kind](path)
    first = next(found, None)
    if first is None:
        raise MasscliError(f"{display_path(path)}: holds no examples", "is it the right file?")
    if taken := [name for name in (*first.texts, *first.lists) if name == WHERE or part(name)]:
        raise MasscliError(
            f"{display_path(path)}: a column cannot be called {taken[0]!r}",
            "tables have one of that name themselves: rename it",
        )
    yield first
    yield from found


def part(name: str) -> str:
    """Which part of a field a name stands for, if it does."""
    found = name.rpartition(".")
    return found[2] if found[0] and found[2] in PARTS else ""


def guess(path: Path) -> str | None:
    """The kind of a file, by its name."""
    if path.is_dir():
        return "race"
    suffixes = [s for s in path.suffixes if s not in corpus.SUFFIXES]
    known = {
        ".tsv": "tsv",
        ".jsonl": "jsonl",
        ".conll": "conll",
        ".conllu": "conll",
        ".json": "squad",
        ".csv": "swag",
    }
    return known.get(suffixes[-1] if suffixes else "")


def files(path: Path, kind: str) -> list[Path]:
    """The files that an entry stands for: both of aligned text, those in a folder of RACE, one otherwise."""
    if kind == "race" and path.is_dir():
        return sorted(path.rglob("*.txt"))
    return [Path(p) for p in str(path).split(":")] if kind == "aligned" else [path]


def tsv(path: Path) -> Iterator[Record]:
    """A header, then rows with as many values, separated by tabs.  Quotes are text."""
    rows = corpus.iter_lines(path)
    names = next(rows, "").split("\t")
    if len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise MasscliError(f"{display_path(path)}:1: the header must name every column once, it is {' '.join(map(repr, names))}",
                           "the first line of a TSV file holds the names of its columns")  # fmt: skip
    if len(names) == 1 and (strange := next((sign for sign in "{;," if sign in names[0]), "")):
        what = "objects a line are read with --jsonl" if strange == "{" else "is its first line a header?"
        raise MasscliError(
            f"{display_path(path)}:1: the header has no tab: {names[0][:60]!r}",
            f"columns are separated by tabs; {what}",
        )
    for number, row in enumerate(rows, 2):
        values = row.split("\t")
        if len(values) != len(names):
            raise MasscliError(f"{display_path(path)}:{number}: has {_count(len(values), 'column')}, the header has {len(names)}",
                               "columns are separated by single tabs; quotes do not protect a tab or a line end")  # fmt: skip
        yield Record(number, dict(zip(names, values, strict=True)))


def plain(path: Path) -> Iterator[Record]:
    """No header: a text a line, or two separated by a tab.  The fields are `1` and `2`."""
    width = 0
    for number, row in enumerate(corpus.iter_lines(path), 1):
        values = row.split("\t")
        width = width or len(values)
        if len(values) != width:
            raise MasscliError(
                f"{display_path(path)}:{number}: has {_count(len(values), 'column')}, the first line has {width}"
            )
        yield Record(number, {str(n): value for n, value in enumerate(values, 1)})


def jsonl(path: Path) -> Iterator[Record]:
    """An object a line; strings and numbers are texts, lists of strings are lists.  Every line has the fields of the first.

    Blank lines may stand at the end only: what a line number means is the same for everybody.
    """
    promised: dict[str, bool] = {}
    for number, row in objects(corpus.iter_lines(path), display_path(path)):
        where = f"{display_path(path)}:{number}"
        found = loads(row, where, JSONL)
        if not isinstance(found, dict):
            raise MasscliError(f"{where}: expected an object, got {row[:40]}", JSONL)
        lists = {name: isinstance(value, list) for name, value in found.items()}
        promised = promised or lists
        for name, is_list in promised.items():
            if lists.get(name) is not is_list:
                what = "lacks" if name not in lists else "has a list in" if lists[name] else "has no list in"
                raise MasscliError(
                    f"{where}: {what} {name!r}, unlike the first line",
                    f"the first line has {', '.join(promised)}",
                )
        if extra := [name for name in lists if name not in promised]:
            raise MasscliError(
                f"{where}: has {extra[0]!r}, which the first line has not",
                f"the first line has {', '.join(promised)}",
            )
        texts = {name: _as_text(found[name], f"{where}: {name}") for name in promised if not promised[name]}
        items = {
            name: [_as_text(item, f"{where}: {name}") for item in found[name]]
            for name in promised
            if promised[name]
        }
        if QUESTION in texts:
            items |= {
                f"{name}{ASKED}": [_statement(texts[QUESTION], item) for item in items[name]]
                for name in list(items)
            }
        yield Record(number, texts, items)


def conll(path: Path) -> Iterator[Record]:
    """A word a line in columns, a blank line after each sentence.  Fields are the columns, `1`, `2`, ...: lists of as many items.

    Columns are separated by tabs, or by spaces where the first word has none.  Skipped are `-DOCSTART-`, comments before a sentence (`#`,
    and not as many columns as words have), and in CoNLL-U the ranges (`1-2`) and empty nodes (`1.1`) that stand beside the words.
    """
    for sentence in sentences(corpus.iter_lines(path), display_path(path)):
        if len(sentence) > LONGEST:
            raise MasscliError(f"{display_path(path)}:{sentence[0][0]}: {len(sentence)} lines without a blank one between sentences",
                               "is it a table? --tsv reads one with a header")  # fmt: skip
        yield _sentence(sentence[0][0], [values for _, values in sentence])


def sentences(rows: Iterable[str], name: str) -> Iterator[list[tuple[int, list[str]]]]:
    """The words of each sentence: the number of their line, and its columns."""
    words: list[tuple[int, list[str]]] = []
    rows = list(rows)
    # Words may begin with #, and comments come first: the columns are those of the first line that is neither, if there is one.
    usual = (row for row in rows if not _blank(row) and not row.startswith(("#", "-DOCSTART-")))
    first = next(usual, next((row for row in rows if not _blank(row)), ""))
    tabs = "\t" in first
    width = len(_cut(first, tabs))
    for number, row in enumerate(rows, 1):
        if _blank(row):
            if words:
                yield words
            words = []
            continue
        values = _cut(row, tabs)
        comment = not words and row.startswith("#") and len(values) != width
        if (
            comment
            or row.startswith("-DOCSTART-")
            or (len(values) == CONLLU and re.fullmatch(r"\d+[-.]\d+", values[0]))
        ):
            continue
        if len(values) != width:
            raise MasscliError(f"{name}:{number}: expected {_count(width, 'column')} as in the first line, got {row!r}",
                               "a word a line, columns separated by tabs, a blank line between sentences")  # fmt: skip
        if empty := [n for n, value in enumerate(values, 1) if not value.strip()]:
            raise MasscliError(f"{name}:{number}: its column {empty[0]} is blank: {row!r}",
                               "a word is more than white space, U+00A0 included; take the line out")  # fmt: skip
        words.append((number, values))
    if words:
        yield words


def _cut(row: str, tabs: bool) -> list[str]:
    return row.split("\t") if tabs else re.findall(r"[^ \r]+", row)


def _blank(row: str) -> bool:
    """Whether a line ends a sentence: only spaces and tabs do, not U+00A0, which may be all of a word."""
    return not row.strip(" \t\r")


def universal(columns: Sequence[str], first: Sequence[str]) -> bool:
    """Whether columns are those of CoNLL-U: ten, of which the first counts the words of a sentence."""
    return (
        len(columns) == CONLLU
        and len(first) > 0
        and list(first) == [str(n) for n in range(1, len(first) + 1)]
    )


def chosen(label: str, count: int) -> int | None:
    """Which of so many choices is meant by a number from 0 or a letter from A; None where it is none of them."""
    number = (
        int(label)
        if label.isascii() and label.isdigit()
        else ord(label) - ord("A")
        if len(label) == 1
        else -1
    )
    return number if 0 <= number < count else None


def dialogues(path: Path) -> Iterator[Record]:
    """A dialogue a line, turns separated by tabs: one record for each turn that has one before it, with all the turns before."""
    for number, row in enumerate(corpus.iter_lines(path), 1):
        if not row.strip(" "):
            continue
        turns = [turn.strip() for turn in row.split(TURN)]
        if empty := [n for n, turn in enumerate(turns, 1) if not turn]:
            ends = ": the line ends in a tab" if empty == [len(turns)] and row.endswith(TURN) else ""
            raise MasscliError(
                f"{display_path(path)}:{number}: turn {empty[0]} of {len(turns)} is empty{ends}", _DIALOGUE
            )
        if len(turns) < 2:
            raise MasscliError(
                f"{display_path(path)}:{number}: has one turn, to which nothing is said", _DIALOGUE
            )
        for n in range(1, len(turns)):
            yield Record(number, {"response": turns[n]}, {"context": turns[:n]})


def aligned(path: Path) -> Iterator[Record]:
    """Two files of as many lines, SOURCE:TARGET."""
    both = files(path, "aligned")
    if len(both) != 2:
        raise MasscliError(f"{path}: expected SOURCE:TARGET", "two files of as many lines")
    for number, (source, target) in enumerate(zip_longest(*map(corpus.iter_lines, both)), 1):
        if source is None or target is None:
            raise MasscliError(f"{both[source is not None]}: ends before line {number}, unlike {both[source is None]}",
                               "line n of one belongs to line n of the other")  # fmt: skip
        yield Record(number, {"source": source, "target": target})


def squad(path: Path, *, placed: bool = True) -> Iterator[Record]:
    """Questions of SQuAD 1.1 or 2.0, each with its answers: their texts, and the character at which they start.

    Raises MasscliError when an answer is not found where the file says it is (`placed`; the official scores do not look).
    """
    number, ids = 0, set[str]()
    for paragraph in _paragraphs(path):
        context = paragraph["context"]
        for question in paragraph["qas"]:
            number += 1
            where = f"{display_path(path)}: question {number}"
            try:
                where = f"{display_path(path)}: question {question.get('id', number)!r}"
                impossible = bool(question.get("is_impossible", False))
                answers = [] if impossible else question.get("answers", [])
                texts, starts = [a["text"] for a in answers], [int(a["answer_start"]) for a in answers]
                asked = {"id": str(question["id"]), "question": question["question"]}
                if not all(
                    isinstance(text, str) for text in (asked["question"], *(a["text"] for a in answers))
                ):
                    raise TypeError("a text is no string")
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise MasscliError(f"{where}: is not a SQuAD question ({error!r})", _SQUAD) from None
            if asked["id"] in ids:
                raise MasscliError(
                    f"{where}: another question has this id",
                    "answers are told apart by the ids of their questions",
                )
            ids.add(asked["id"])
            for text, start in zip(texts, starts, strict=True) if placed else ():
                if not text.strip() or context[start : start + len(text)] != text:
                    raise MasscliError(f"{where}: its answer {text!r} is not in its context at {start}",
                                       "answer_start counts characters of the context, from 0")  # fmt: skip
            known = {"start": starts, "impossible": [int(impossible)]}
            yield Record(number, asked, {"answers": texts}, known, {"context": context})


def swag(path: Path) -> Iterator[Record]:
    """SWAG's columns (CSV, or what the name says: .tsv, .jsonl): `sent1` is the context, each choice is `sent2` and one of the endings."""
    rows = (
        ((r.line, r.texts) for r in jsonl(path))
        if guess(path) == "jsonl"
        else _columns(path, guess(path) == "tsv")
    )
    for number, row in rows:
        endings = [name for n in range(len(row)) if (name := f"ending{n}") in row]
        if missing := [name for name in ("sent1", "sent2", "ending0", "ending1") if name not in row]:
            raise MasscliError(
                f"{display_path(path)}:{number}: has no {missing[0]!r}",
                f"{_SWAG}; there is {', '.join(filter(None, row))}",
            )
        label = {"label": row["label"]} if "label" in row else {}
        yield _choice(number, row["sent1"], row["sent2"], [row[name] for name in endings], label, blank=False)


def race(path: Path) -> Iterator[Record]:
    """RACE: a folder of .txt files with an object each, or a file with an object a line; an example for each question of an article."""
    first: bool | None = None
    for name, where, text in _articles(path):
        raw = loads(text, where, _RACE)
        try:
            article, questions, options, labelled = (
                raw["article"],
                raw["questions"],
                raw["options"],
                "answers" in raw,
            )
            first = labelled if first is None else first
            if labelled is not first:
                raise KeyError("answers")
            letters = raw["answers"] if labelled else [""] * len(questions)
            asked = list(zip(questions, options, letters, strict=True))
            if not all(
                isinstance(o, list) and all(isinstance(text, str) for text in (article, q, a, *o))
                for q, o, a in asked
            ):
                raise TypeError("a text is no string")
        except (KeyError, TypeError, ValueError) as error:
            raise MasscliError(f"{where}: is not an article of RACE ({error!r})", _RACE) from None
        for n, (question, choices, letter) in enumerate(asked, 1):
            yield _choice(
                n,
                article,
                question,
                choices,
                {"id": f"{name}-{n}", **({"label": letter} if labelled else {})},
            )


def _articles(path: Path) -> Iterator[tuple[str, str, str]]:
    """Of each object what it is called, its place, and its text."""
    if path.is_dir():
        for file in files(path, "race"):
            yield str(file.relative_to(path)), display_path(file), "\n".join(corpus.iter_lines(file))
    else:
        for number, row in objects(corpus.iter_lines(path), display_path(path)):
            yield str(number), f"{display_path(path)}:{number}", row


def _columns(path: Path, tabs: bool) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Rows by the names of the header, with the line at which each begins: CSV, or separated by tabs, where quotes are text."""
    style: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"strict": True}
    rows = csv.reader((f"{line}\n" for line in corpus.iter_lines(path)), **style)
    names: list[str] = []
    line = 1
    try:
        for values in rows:
            names = names or values
            if len(values) != len(names):
                raise MasscliError(
                    f"{display_path(path)}:{line}: has {_count(len(values), 'column')}, the header has {len(names)}",
                    _SWAG,
                )
            if line > 1:
                yield line, dict(zip(names, values, strict=True))
            line = rows.line_num + 1
    except csv.Error as error:
        raise MasscliError(f"{display_path(path)}:{line}: not CSV ({error})", _SWAG) from None


def _choice(
    line: int,
    context: str,
    question: str,
    choices: Sequence[str],
    more: Mapping[str, str],
    *,
    blank: bool = True,
) -> Record:
    """An example of multiple choice, its choices alone and with the question; `blank`: a `_` in this is their place."""
    stated = [_statement(question, choice) if blank else f"{question} {choice}" for choice in choices]
    return Record(
        line,
        {"context": context, "question": question, **more},
        {"choices": choices, f"choices{ASKED}": stated},
    )


def _paragraphs(path: Path) -> Iterator[Mapping[str, Any]]:
    with corpus.open_bytes(path) as file:
        data = file.read()
    raw = loads(corpus.decode_utf8(data, path, 1, 0), display_path(path), _SQUAD)
    try:
        for article in raw["data"]:
            for paragraph in article["paragraphs"]:
                if not isinstance(paragraph["context"], str) or not isinstance(paragraph["qas"], list):
                    raise TypeError("a paragraph needs a context and qas")
                yield paragraph
    except (KeyError, TypeError) as error:
        raise MasscliError(f"{display_path(path)}: is not in the form of SQuAD ({error!r})", _SQUAD) from None


def objects(rows: Iterable[str], name: str) -> Iterator[tuple[int, str]]:
    """The numbered lines of JSONL."""
    blank = 0
    for number, row in enumerate(rows, 1):
        if not row.strip():
            blank = blank or number
        elif blank:
            raise MasscliError(f"{name}:{blank}: is blank", f"{JSONL}; blank lines may stand at the end only")
        else:
            yield number, row


def loads(text: str, where: str, hint: str) -> Any:
    """What JSON says.  Half a character (`\\ud800`) is no text."""
    try:
        found = json.loads(text)
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise MasscliError(
            f"{where}: {error.object[error.start]!r} is half a character", "write it whole, or leave it out"
        ) from None
    except ValueError as error:
        raise MasscliError(f"{where}: not JSON ({error})", hint) from None
    return found


def _sentence(line: int, words: Sequence[Sequence[str]]) -> Record:
    return Record(line, lists={str(n): list(column) for n, column in enumerate(zip(*words, strict=True), 1)})


def _statement(question: str, choice: str) -> str:
    """The choice in the place of the question's blanks, or after it."""
    return question.replace("_", choice) if "_" in question else f"{question} {choice}"


def _as_text(value: object, where: str) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, list | dict):
        none = 'an empty text is ""; leave out an example, or a field of all of them, that has none'
        hint = (
            none
            if value is None
            else f"{JSONL} of texts, numbers and lists of texts; RACE's own are --race, or --input-format race"
        )
        raise MasscliError(f"{where}: expected a string or a number, got {json.dumps(value)[:40]}", hint)
    return json.dumps(value)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


_SQUAD = '{"data": [{"paragraphs": [{"context": ..., "qas": [{"id": ..., "question": ..., "answers": [{"text", "answer_start"}]}]}]}]}'
_DIALOGUE = "a dialogue a line, two or more turns separated by single tabs; blank lines are passed over"
JSONL = "JSONL has one object a line"
"""A hint."""
_SWAG = "the columns of SWAG are sent1, sent2, ending0, ending1, ... and maybe label, separated by commas; quotes protect a comma"
_RACE = '{"article": ..., "questions": [...], "options": [[...], ...], "answers": ["A", ...]}, a list of options for each question'
READERS: Mapping[str, Callable[[Path], Iterator[Record]]] = {
    "tsv": tsv, "lines": plain, "jsonl": jsonl, "conll": conll, "squad": squad, "dialogues": dialogues, "aligned": aligned, "swag": swag,
    "race": race,
}  # fmt: skip
