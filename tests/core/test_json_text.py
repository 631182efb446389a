"""JSON of others: what is refused, and that what is returned can be written again."""

from __future__ import annotations

import json

import pytest

from masscli.core.json_text import HalfCharacterError, parse_json


@pytest.mark.parametrize(
    "value", [{"a": [1, 2.5, None, True, "é𝔘\u2028"]}, "\\ud800", [], 10**400]
)
def test_what_was_written_is_read(value: object) -> None:
    for ensure_ascii in (True, False):
        text = json.dumps(value, ensure_ascii=ensure_ascii)
        assert parse_json(text) == value
        assert parse_json(text.encode()) == value
        assert parse_json(b"\xef\xbb\xbf" + text.encode()) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 5000,
        b"\xff",
        '"a"'.encode("utf-16"),
    ],
)
def test_invalid_json_is_an_error_of_one_line(text: str | bytes) -> None:
    with pytest.raises(ValueError) as caught:
        parse_json(text)
    assert "\n" not in str(caught.value)


def test_long_integers_are_named_without_advice_for_programmers() -> None:
    with pytest.raises(ValueError, match=r"^an integer has more than 4,300 digits$"):
        parse_json('{"a": ' + "1" * 5000 + "}")


@pytest.mark.parametrize(
    "text", ['"a \\ud800"', '{"\\uDC00": 1}', '[{"a": ["\\udfff\\ud800"]}]']
)
def test_an_unpaired_surrogate_is_refused_wherever_it_is(text: str) -> None:
    with pytest.raises(HalfCharacterError, match="is an unpaired surrogate"):
        parse_json(text)
    # As bytes of its own it is not UTF-8.
    with pytest.raises(ValueError):
        parse_json(
            text.encode().decode("unicode_escape").encode("utf-8", "surrogatepass")
        )


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse_json('"\\ud83d\\ude00"') == "😀"
