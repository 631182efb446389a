"""Numbers in text."""

from __future__ import annotations

import pytest

from masscli.core.digits import parse_digits, parse_number


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1)]
)
def test_digits_are_a_number(text: str, number: int) -> None:
    assert parse_digits(text) == number


# Python's str.isdigit takes the superscript, str.isdecimal the Arabic digit; int takes neither blanks nor 5,000 digits.
@pytest.mark.parametrize(
    "text", ["", "-1", "+1", " 1", "1 ", "1.0", "1_0", "²", "١", "9" * 19, "9" * 5000]
)
def test_all_other_texts_give_none(text: str) -> None:
    assert parse_digits(text) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("1.5", 1.5), (" -2 ", -2), ("+3e2", 300), (".5", 0.5), ("7.", 7)],
)
def test_a_number_may_have_a_point_and_an_exponent(text: str, number: float) -> None:
    assert parse_number(text) == number


# Python's float takes the underscore, the Arabic digit and the names of what is not finite.
@pytest.mark.parametrize(
    "text", ["", " ", "x", "1,5", "1_5", "١", "nan", "-inf", "Infinity", "1e999", "0x1"]
)
def test_all_other_texts_are_not_numbers(text: str) -> None:
    assert parse_number(text) is None
