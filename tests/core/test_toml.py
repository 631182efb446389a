"""Reading TOML: what the parser of the standard library accepts or is slow with is refused at once."""

from __future__ import annotations

import time
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masscli.core.config import MAX_INTEGER, ConfigError, override, parse_toml, to_toml

DEEP = {
    "lists": "a = " + "[" * 100_000,
    "closed lists": "a = " + "[" * 100 + "]" * 100,
    "tables": "a = " + "{a = " * 100_000,
    "a dotted key": ".".join(["a"] * 20_000) + " = 1",
    "a dotted key with quotes and blanks": " . ".join(["'a'"] * 20_000) + " = 1",
    "a header": "[" + ".".join(["a"] * 20_000) + "]",
    "a header of a list": "  [[ " + ".".join(['"a"'] * 20_000) + "]]",
    "a key in an inline table": "x = {b = 1, " + ".".join(["a"] * 20_000) + " = 1}",
}
LARGE = [
    "9" * 5000,
    "0x" + "f" * 5000,
    str(MAX_INTEGER + 1),
    str(-MAX_INTEGER - 2),
    "[1, [2, 0b1" + "0" * 64 + "]]",
]


@pytest.mark.parametrize("kind", DEEP)
def test_deep_nesting_is_refused_at_once(kind: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match="nested more than 32 deep"):
        parse_toml(f"seed = 1\n{DEEP[kind]}\n")
    # Some of these kept the parser busy for 20 seconds.
    assert time.process_time() - started < 2


@pytest.mark.parametrize("number", LARGE)
def test_large_integers_are_refused(number: str) -> None:
    with pytest.raises(ValueError, match="an integer of more than 64 bits"):
        parse_toml(f"a = {number}")


def test_the_bounds_themselves_are_read() -> None:
    text = f"low = {-MAX_INTEGER - 1}\nhigh = {MAX_INTEGER}\n{'.'.join('abcdefghij' * 2)} = 1\n"
    assert parse_toml(text) == tomllib.loads(text)


plain = st.recursive(
    st.text()
    | st.booleans()
    | st.integers(-MAX_INTEGER - 1, MAX_INTEGER)
    | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), plain, max_size=4))
def test_everything_else_is_read_as_by_the_standard_library(
    raw: dict[str, object],
) -> None:
    try:
        text = to_toml(raw)
        expected = tomllib.loads(text)
    # Tables within lists are not written.
    except (TypeError, tomllib.TOMLDecodeError):
        return
    assert parse_toml(text) == expected


def test_a_key_of_too_many_parts_on_the_command_line() -> None:
    with pytest.raises(ConfigError, match="has more than 32 parts"):
        override({}, [".".join(["a"] * 20_000) + "=1"])
