"""Whatever a text holds, it is written as one line, and JSON loses nothing."""

from __future__ import annotations

import json
import random
import sys

import pytest

from masscli.text.single_line import LINE_ENDS, json_line, one_cell, one_line


def test_all_line_ends_of_python_are_known() -> None:
    ends = [
        chr(code)
        for code in range(sys.maxunicode + 1)
        if len(f"a{chr(code)}b".splitlines()) > 1
    ]
    assert sorted(LINE_ENDS) == ends


@pytest.mark.parametrize("end", [*LINE_ENDS, "\r\n", "\0", "\n \n"], ids=ascii)
def test_a_line_end_becomes_a_space(end: str) -> None:
    assert one_line(f"a{end}b") == f"a{'   ' if ' ' in end else ' '}b"
    assert one_line(f"{end}a b{end}").strip(" ") == "a b"
    assert one_cell(f"a\tb{end}c").split() == ["a", "b", "c"]


def test_other_text_stays_as_it_is() -> None:
    for text in ("", " ", "a  b ", "\ta", "Füße", "a\u00a0b\u3000", "\u200b", "\x7f"):
        assert one_line(text) == text
        assert json_line(text) == json.dumps(text, ensure_ascii=False)


def test_random_text_is_one_line_and_json_is_its_inverse() -> None:
    draw = random.Random(1)
    alphabet = [*LINE_ENDS, "\0", "\t", "a", " ", "ß", '"', "\\", "\U0001f600"]
    for _ in range(2000):
        text = "".join(draw.choices(alphabet, k=draw.randrange(12)))
        assert len(f"{one_line(text)}\n".splitlines()) == 1
        assert "\t" not in one_cell(text) and "\0" not in one_cell(text)
        written = json_line({"text": [text]})
        assert len(written.splitlines()) == 1 and "\0" not in written
        assert json.loads(written) == {"text": [text]}
