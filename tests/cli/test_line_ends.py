"""A line end in an output does not end the line of the output: n lines in, n lines out, in every format."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from masscli.cli.generate_formats import Entry, as_fairseq, as_json, as_text
from masscli.cli.predict import _format_predictions
from masscli.data.storage.tables import Table
from masscli.generation.hypotheses import Hypothesis
from masscli.generation.translation import Translation
from masscli.lexicon.dictionary import WordPair, dictionary_text
from masscli.objectives.shared.evaluable_objective import Prediction
from masscli.text.tokenizer import Tokenizer

BROKEN = [
    "a\nb",
    "\r",
    "a\r\nb\n",
    "a\x0bb",
    "a\x0cb",
    "a\x1cb\x1dc\x1e",
    "a\x85b",
    "a\u2028b\u2029",
    "\0",
    "a\tb",
]


class Pieces:
    """A tokenizer whose pieces hold line ends, as a user-defined symbol may."""

    vocab = SimpleNamespace(eos=0)

    def ids_to_pieces(self, ids: Any) -> list[str]:
        return [BROKEN[number] for number in ids]

    def encode(self, text: str, language: str) -> Any:
        return np.arange(len(BROKEN))


@pytest.fixture
def entries() -> list[Entry]:
    hypothesis = Hypothesis((0, 6, 7), -1.0, (-1.0, -1.0, -1.0, -1.0), False)
    pieces = (BROKEN[0], BROKEN[6], BROKEN[7], BROKEN[0])
    return [
        Entry(number, text, text, [Translation(text, hypothesis, pieces)] * 2)
        for number, text in enumerate(BROKEN, 1)
    ]


def test_generate(entries: list[Entry]) -> None:
    tokenizer = cast(Tokenizer, Pieces())
    assert len(
        "".join(as_text(entry, nbest=3) for entry in entries).splitlines()
    ) == 3 * len(entries)
    rows = "".join(as_json(entry) for entry in entries).splitlines()
    assert [json.loads(row)["hypotheses"][0]["text"] for row in rows] == BROKEN
    lines = "".join(
        as_fairseq(entry, tokenizer, "en") for entry in entries
    ).splitlines()
    assert [line[:2] for line in lines] == ["S-", "T-", *["H-", "D-", "P-"] * 2] * len(
        entries
    )


class Labels:
    """A table with text that holds line ends and tabs."""

    format = "lines"
    fields = ("te\nxt",)

    def text(self, field: str, row: int) -> str:
        return BROKEN[row]

    def has(self, field: str) -> bool:
        return False


@pytest.mark.parametrize("format", ["text", "tsv", "jsonl"])
@pytest.mark.parametrize("input_format", ["lines", "squad", "jsonl"])
def test_predict(format: str, input_format: str) -> None:
    predictions = [
        Prediction(label, {"label": label, "probability": 0.5}) for label in BROKEN
    ]
    table = Labels()
    table.format = input_format
    text = _format_predictions(format, cast(Table, table), predictions)
    lines = text.splitlines()
    assert len(lines) == len(BROKEN) + (format == "tsv")
    if format == "tsv":
        assert {len(row) for row in csv.reader(lines, delimiter="\t")} == {3}
    if format == "jsonl":
        assert [json.loads(line)["label"] for line in lines] == BROKEN


def test_dictionary() -> None:
    text = dictionary_text([WordPair(word, word, 1.0) for word in BROKEN])
    assert {len(line.split("\t")) for line in text.splitlines()} == {3}
    assert len(text.splitlines()) == len(BROKEN)
