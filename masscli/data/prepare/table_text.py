"""Collect the running text in labeled examples, on which a vocabulary is trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from masscli.data.formats.bad_rows import SKIP_ADVICE, BadRows
from masscli.data.formats.conll import CONLLU_FORM, is_conllu
from masscli.data.formats.record import Record
from masscli.data.formats.registry import read_records
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.requested_inputs import LabeledFile
from masscli.text.char_offsets import SHARED_TEXT_WORD

UNSPACED = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]{2}"
)
"""Matches two letters of a script without spaces between words: Thai to Burmese, Khmer, kana, Chinese
characters."""


def is_text(value: str) -> bool:
    """Return whether a value has more than one word, so that it is running text, not a number or a label.

    Two letters of a script without spaces also count as text.
    """
    return " " in value or UNSPACED.search(value) is not None


def bad_rows_of(table: LabeledFile, config: PreprocessConfig) -> BadRows:
    """Return the policy for the bad rows of a file, with the checks of labels unless its split is a test."""
    # The labels of a test split are often withheld.
    is_labeled = not table.split.startswith("test")
    checks = config.column_checks if is_labeled else ()
    return BadRows(
        config.allowed_bad_rows, SKIP_ADVICE, checks, needs_answers=is_labeled
    )


def training_lines(
    tables: Sequence[LabeledFile], max_lines: int, seed: int, config: PreprocessConfig
) -> list[str]:
    """Return running text of the tables' training files: at most `max_lines` lines, drawn at random.

    `seed` decides which. `config` says what becomes of bad rows, which may raise MasscliError. Of CoNLL-U
    only the words are taken.
    """
    lines: list[str] = []
    for table in tables:
        if table.split == "train":
            lines += _text_lines(
                read_records(table.path, table.format, bad_rows_of(table, config))
            )
    if len(lines) <= max_lines:
        return lines
    # Sorted, so that the lines keep their order.
    chosen = np.random.default_rng(seed).choice(
        len(lines), max_lines, replace=False, shuffle=False
    )
    return [lines[number] for number in np.sort(chosen).tolist()]


def _text_lines(records: Iterator[Record]) -> Iterator[str]:
    """Yield each distinct text, with single spaces, of every field that holds running text.

    A field holds running text if at least one of its values does (see `is_text`).
    """
    for texts in _values_by_field(records).values():
        if not any(map(is_text, texts)):
            continue
        for text in dict.fromkeys(texts):
            if text.strip():
                yield " ".join(SHARED_TEXT_WORD.findall(text))


def _values_by_field(records: Iterator[Record]) -> dict[str, list[str]]:
    """Return the values of each field of some records, by its name.

    A list counts as one value, joined by spaces. Of CoNLL-U only the column of the words is taken.
    """
    values: dict[str, list[str]] = {}
    for record in records:
        for name, text in (*record.texts.items(), *record.shared.items()):
            values.setdefault(name, []).append(text)
        lists = record.lists
        # Lemmas and features of CoNLL-U are not running text.
        if is_conllu(tuple(lists), lists.get("1", ())):
            lists = {CONLLU_FORM: lists[CONLLU_FORM]}
        for name, items in lists.items():
            values.setdefault(name, []).append(" ".join(items))
    return values
