"""Whole numbers in text."""

from __future__ import annotations

import pytest

from masscli.core.digits import parse_digits


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1)]
)
def test_digits_are_a_number(text: str, number: int) -> None:
    assert parse_digits(text) == number


# Python's str.isdigit takes the superscript, str.isdecimal the Arabic digit; int takes neither blanks nor 5,000 digits.
@pytest.mark.parametrize(
    "text", ["", "-1", "+1", " 1", "1 ", "1.0", "1_0", "²", "١", "9" * 19, "9" * 5000]
)
def test_all_else_is_none(text: str) -> None:
    assert parse_digits(text) is None
