"""Placeholders, markup and addresses are found, and ordinary text is not."""

from __future__ import annotations

import random

import pytest

from masscli.text.placeholders import (
    find_placeholders,
    keeps_placeholders,
    split_at_placeholders,
)

FOUND = [
    ("Hi {name}, %s!", ["{name}", "%s"]),
    ("%(total)d of %1$s, %-5.2f, ${x} {{ y }} {0}", ["%(total)d", "%1$s", "%-5.2f", "${x}", "{{ y }}", "{0}"]),
    ('<a href="x">link</a><br/> &nbsp;&#8211; <!-- a -->', ['<a href="x">', "</a>", "<br/>", "&nbsp;", "&#8211;", "<!-- a -->"]),
    ("See https://a.org/b?c=1&d=2. Or www.a.org, a.b@c.org!", ["https://a.org/b?c=1&d=2", "www.a.org", "a.b@c.org"]),
]  # fmt: skip
NOT_FOUND = [
    "50% of all, 100%sure",
    "a < b and b > c",
    "AT&T; R&D",
    "{ an open brace",
    "5 %",
    "me @ home",
]


@pytest.mark.parametrize(("text", "expected"), FOUND)
def test_found(text: str, expected: list[str]) -> None:
    assert find_placeholders(text) == expected
    parts = split_at_placeholders(text)
    assert "".join(part for part, _ in parts) == text
    assert [part for part, is_placeholder in parts if is_placeholder] == expected
    assert keeps_placeholders(" und ".join(reversed(expected)), expected)
    assert not keeps_placeholders(" ".join(expected[:-1]), expected)
    assert not keeps_placeholders(" ".join([*expected, expected[0]]), expected)


@pytest.mark.parametrize("text", NOT_FOUND)
def test_ordinary_text(text: str) -> None:
    assert find_placeholders(text) == []


def test_hostile_text_takes_time_in_proportion() -> None:
    for unit in ("<!--", "a", "{", "<a", "a@", "http://.", "www.", "%(", "&a"):
        find_placeholders(unit * 50_000)
    draw = random.Random(2)
    for _ in range(200):
        text = "".join(draw.choices("<>{}%&;@a.s$/:-! ", k=40))
        assert "".join(part for part, _ in split_at_placeholders(text)) == text
