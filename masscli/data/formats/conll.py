"""CoNLL columns: one word per line, and a blank line after each sentence; also CoNLL-U."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.record import Record
from masscli.text import corpus
from masscli.text.corpus import display_path

CONLLU_COLUMNS = 10
"""Number of columns of CoNLL-U (https://universaldependencies.org/format.html)."""
CONLLU_FORM = "2"
"""Name of the field (column) that holds the words in CoNLL-U."""
CONLLU_UPOS = "4"
"""Name of the field (column) that holds the universal parts of speech in CoNLL-U."""
MAX_SENTENCE_LINES = 2000
"""Maximum number of lines of a sentence. A longer one is a bad row, since the file is probably a table
without blank lines."""

COMMENT = re.compile(r"#\s*\w[\w.:-]*\s*=\s")
"""Matches a comment as CoNLL-U has it, such as `# sent_id = 1`, however many columns the words have."""

Word = tuple[int, list[str]]
"""The line number of a word, and its columns."""


def read_conll(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """Yield a record for every sentence; its fields `1`, `2`, ... are lists with one value for each word.

    Columns are separated by tabs, or by spaces if the first word has no tab. The reader skips and counts
    `-DOCSTART-`, comments before a sentence (lines that begin with `#` and have not as many columns as
    words have, or match COMMENT), and in CoNLL-U the ranges (`1-2`) and empty nodes (`1.1`) between the
    words. A sentence with a broken line, or with more than MAX_SENTENCE_LINES lines, is a bad row.
    """
    name = display_path(path)
    for sentence in split_sentences(corpus.iter_lines(path), name, bad_rows):
        first_line = sentence[0][0]
        if len(sentence) > MAX_SENTENCE_LINES:
            error = MasscliError(
                f"{name}:{first_line}: {len(sentence)} lines without a blank line between sentences",
                "is it a table? --tsv reads one with a header",
            )
            bad_rows.add(name, first_line, error)
            continue
        columns: dict[str, list[str]] = {}
        for _, values in sentence:
            for column, value in enumerate(values, 1):
                columns.setdefault(str(column), []).append(value)
        yield Record(first_line, lists=columns)


def split_sentences(
    rows: Iterable[str], name: str, bad_rows: BadRows | None = None
) -> Iterator[list[Word]]:
    """Yield each sentence as a list of words, each with its line number and its columns.

    `name` is the file that error messages name. A sentence with a broken line is a bad row, which raises
    MasscliError if `bad_rows` is None. Lines that are not words are counted in `bad_rows`, and words that may
    be comments are doubts in it.
    """
    bad_rows = bad_rows or BadRows()
    # Any number of comments may precede the first word.
    rows = list(rows)
    # Every word must have the columns of the first one, which tell words from comments as well.
    first = _first_word_line(rows)
    has_tabs = "\t" in first
    width = len(_split_columns(first, has_tabs))
    hash_words = _HashWords()
    for words in _group_words(rows, has_tabs, width, bad_rows.unread):
        for number, values in words:
            try:
                _check_word(rows[number - 1], values, width, f"{name}:{number}")
            except MasscliError as error:
                # One broken line makes the sentence a bad row, which counts once even with several broken
                # lines.
                bad_rows.add(name, number, error)
                break
        else:
            hash_words.add(words)
            yield words
    bad_rows.doubts += hash_words.doubts(name)


def _group_words(
    rows: Sequence[str], has_tabs: bool, width: int, unread: Counter[str]
) -> Iterator[list[Word]]:
    """Yield the words of each sentence, unchecked, and count the other lines in `unread`, in place.

    `has_tabs` says whether tabs separate columns, and `width` is the number of columns of a word.
    """
    words: list[Word] = []
    for number, row in enumerate(rows, 1):
        if _is_blank(row):
            if words:
                yield words
            words = []
            continue
        values = _split_columns(row, has_tabs)
        # Words may begin with # too, but comments occur only before the first word of a sentence.
        if not words and _is_comment(row, values, width):
            unread["comment"] += 1
            continue
        extra = _kind_of_extra(row, values)
        if extra is not None:
            unread[extra] += 1
            continue
        words.append((number, values))
    if words:
        yield words


@dataclass
class _HashWords:
    """The sentences of a file that begin with the word `#`, which may be a comment of as many columns.

    The format alone cannot tell. A label (last column) that no other word has is a sign, but not enough to
    leave out what may be a word.
    """

    _lines: list[tuple[int, list[str]]] = field(default_factory=list)
    """The line number and the columns of each such word."""
    _labels: set[str] = field(default_factory=set)
    """The labels of all other words."""

    def add(self, sentence: Sequence[Word]) -> None:
        """Take note of the words of a sentence."""
        words = list(sentence)
        values = words[0][1]
        if values[0] == "#" and len(values) > 1:
            self._lines.append(words.pop(0))
        self._labels.update(values[-1] for _, values in words)

    def doubts(self, name: str) -> Iterator[str]:
        """Yield a warning, which names the first such word of the file `name`, if any may be a comment."""
        found = [word for word in self._lines if word[1][-1] not in self._labels]
        if not found:
            return
        number, values = found[0]
        count = count_of(len(found), "such line")
        yield (
            f"{name}:{number}: {' '.join(values)!r} is read as a word, since it has as many columns as words "
            f"have; write a comment as '# NAME = VALUE' ({count})"
        )


def is_conllu(names: Sequence[str], first_column: Sequence[str]) -> bool:
    """Return whether the columns of a sentence are those of CoNLL-U.

    `names` are the names of its columns, which must be ten, and `first_column` the values of the first one,
    which must number the words from 1.
    """
    numbers = [str(number) for number in range(1, len(first_column) + 1)]
    return (
        len(names) == CONLLU_COLUMNS
        and len(first_column) > 0
        and list(first_column) == numbers
    )


def _first_word_line(rows: Sequence[str]) -> str:
    """Return the first line that is surely a word, not a comment or `-DOCSTART-`.

    If there is none, it is the first line that is not blank, or an empty string.
    """
    first = ""
    for row in rows:
        if _is_blank(row):
            continue
        if not row.startswith(("#", "-DOCSTART-")):
            return row
        first = first or row
    return first


def _split_columns(row: str, has_tabs: bool) -> list[str]:
    if has_tabs:
        return row.split("\t")
    # `str.split` would also split at U+00A0 and the like, which are part of words.
    return re.findall(r"[^ \r]+", row)


def _is_blank(row: str) -> bool:
    """Return whether a line consists only of spaces and tabs, and so ends a sentence.

    Other white space, such as U+00A0, may be a word and does not count.
    """
    return not row.strip(" \t\r")


def _is_comment(row: str, values: Sequence[str], width: int) -> bool:
    """Return whether a line before the first word of a sentence is a comment.

    `values` are its columns, and `width` is the number of columns of a word.
    """
    is_other = len(values) != width or COMMENT.match(row) is not None
    return row.startswith("#") and is_other


def _kind_of_extra(row: str, values: Sequence[str]) -> str | None:
    """Return what a line that is neither word nor comment is called, or None for a word.

    It is `-DOCSTART-` or, in CoNLL-U, a range of words or an empty node. `values` are its columns.
    """
    if row.startswith("-DOCSTART-"):
        return "-DOCSTART- line"
    if len(values) == CONLLU_COLUMNS:
        if re.fullmatch(r"\d+-\d+", values[0]):
            return "word range"
        if re.fullmatch(r"\d+\.\d+", values[0]):
            return "empty node"
    return None


def _check_word(row: str, values: Sequence[str], width: int, place: str) -> None:
    """Raise MasscliError if a line of a word has another number of columns than `width`, or a blank one.

    `row` is the line itself, and `place` its file and number, with which the message begins.
    """
    if len(values) != width:
        raise MasscliError(
            f"{place}: expected {count_of(width, 'column')} as in the first line, got {row!r}",
            "one word per line, columns separated by tabs, a blank line between sentences",
        )
    for column, value in enumerate(values, 1):
        if not value.strip():
            raise MasscliError(
                f"{place}: column {column} is blank: {row!r}",
                "white space alone (U+00A0 included) is not a word; remove the line",
            )
