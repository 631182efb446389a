"""Sentences of running text: nothing is lost, and abbreviations do not end them."""

from __future__ import annotations

import random

import pytest

from masscli.text.sentences import split_sentences

CASES = [
    ("en", "Dr. Smith went home.| He slept!| \"Really?\"| Yes."),
    ("en", "The U.S. Army came at No. 5 in 1944.| Mr. J. K. Rowling wrote."),
    ("en", "It cost 3.50 dollars.| 7 men came. and no capital. follows"),
    ("en", "Wait... what?| (She left.)| The end"),
    ("de", "Am 3. Oktober kam Herr Dr. Müller, z.B. mit Frau Prof. Meier.| Er ging."),
    ("fr", "M. Dupont est là.| « Il dort. »| Bien sûr !| Oui ?| Non."),
    ("de", "Er ging.| »Komm!«| Sie sagte: »Nein.«| Gut."),
    ("zh", "你好。|今天天气很好！|走吧"),
    ("xx", "Mr. X has no list of his language.| But the English one."),
    ("en", "..."),
    ("en", ""),
]  # fmt: skip


@pytest.mark.parametrize(("language", "marked"), CASES)
def test_where_sentences_end(language: str, marked: str) -> None:
    expected = [part for part in marked.split("|") if part]
    sentences = split_sentences(marked.replace("|", ""), language)
    assert [sentence.strip() for sentence in sentences] == [
        part.strip() for part in expected
    ]


def test_sentences_joined_are_the_text() -> None:
    draw = random.Random(1)
    for _ in range(300):
        text = "".join(draw.choices('aB.!?… \t"’»(5。\n', k=draw.randint(0, 60)))
        assert "".join(split_sentences(text, "en")) == text


def test_long_texts_take_time_in_proportion() -> None:
    """A text with a mark in every place is done in a moment, where a square would take minutes."""
    assert len(split_sentences("a. B" * 20_000, "en")) > 1
    assert len(split_sentences("." * 100_000, "en")) == 1
