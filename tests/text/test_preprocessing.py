"""Preparation of text: Moses normalization and Romanian letters."""

from __future__ import annotations

import pytest

from masscli.text.preprocessing import TextPreprocessing

ROMANIAN = "Ţara şi ţăranul înţeleg în câmp. ȘȚ șț"


def test_normalization_is_that_of_xlm() -> None:
    lines = [
        "\uff41\uff0c b\u3002 c\uff1f",
        "soft\u00adhyphen zero\u200bwidth",
        "\u201eyes\u201c \u2013 no\u2026",
    ]
    assert TextPreprocessing(normalize=True).apply(lines, "de") == [
        "\uff41, b. c?",
        "soft hyphen zero width",
        '"yes" - no...',
    ]


@pytest.mark.parametrize(
    ("romanian", "line", "expected"),
    [
        ("commas", ROMANIAN, "Țara și țăranul înțeleg în câmp. ȘȚ șț"),
        ("plain", ROMANIAN, "Tara si taranul inteleg in camp. ST st"),
        # Marks that are characters of their own.
        ("plain", "s\u0327i a\u0306", "si a"),
        (None, ROMANIAN, ROMANIAN),
    ],
)
def test_romanian_letters_are_replaced(
    romanian: str | None, line: str, expected: str
) -> None:
    assert TextPreprocessing(romanian=romanian).apply([line], "ro") == [expected]


def test_letters_of_other_languages_are_left_as_they_are() -> None:
    assert TextPreprocessing(romanian="plain").apply([ROMANIAN], "fr") == [ROMANIAN]


@pytest.mark.parametrize(
    "line", ["The dog sees the cat.", 'He said, "It\'s late".', "3.5% of 1,000 (or so)"]
)
def test_moses_tokens_are_joined_again(line: str) -> None:
    preprocessing = TextPreprocessing(moses=True)
    (tokenized,) = preprocessing.apply([line], "en")
    assert tokenized != line
    assert preprocessing.undo(tokenized, "en") == line
