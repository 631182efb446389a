"""Read and write TOML.

The standard library has a parser but no writer. A small malicious file can keep its parser busy for a
long time, so such files are refused before or after parsing.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from masscli.core.config.errors import join_key

MAX_DEPTH = 32
"""Maximum nesting depth of tables and lists. Recipes have a depth of five; the limit protects recursive
functions."""
MAX_INTEGER = 2**63 - 1
"""Largest integer in TOML 1.0; the smallest is -MAX_INTEGER - 1. Python's integers have no bounds, but
cannot be printed beyond 4,300 digits."""
_TOO_LARGE = "it has an integer of more than 64 bits"

_KEY = r"(?:[A-Za-z0-9_-]+|\"[^\"\n]*\"|'[^'\n]*')"
_LONG_KEY = re.compile(
    rf"(?:^[ \t]*\[*|[{{,])[ \t]*{_KEY}(?:[ \t]*\.[ \t]*{_KEY}){{{MAX_DEPTH}}}",
    re.MULTILINE,
)
"""Matches a dotted key of more than MAX_DEPTH parts in a table header, at the start of a line or in an inline
table."""


def parse_toml(text: str) -> dict[str, Any]:
    """Parse the text of a TOML file and return its tables.

    Raises ValueError if it is not TOML, is nested more than MAX_DEPTH deep, or has an integer of more than 64
    bits.
    """
    too_deep = ValueError(f"nested more than {MAX_DEPTH} deep")
    # The time of the parser grows with the cube of the number of parts in a key.
    if _LONG_KEY.search(text):
        raise too_deep
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise too_deep from None
    except tomllib.TOMLDecodeError:
        raise
    # Python refuses to parse an integer of more than 4,300 digits.
    except ValueError:
        raise ValueError(_TOO_LARGE) from None
    _check_values(tables, 0)
    return tables


def _check_values(value: Any, depth: int) -> None:
    """Raise ValueError if a value has an integer of more than 64 bits, or is nested too deeply.

    `depth` is the number of tables and lists around the value.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_values(item, depth + 1)
    elif isinstance(value, int) and not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
        raise ValueError(_TOO_LARGE)


def to_toml(raw: Mapping[str, Any], table_name: str = "") -> str:
    """Return plain data as the text of a TOML file, or of one of its tables.

    `table_name` is the dotted name in the header of the table, with quotes where TOML needs them; it is empty
    for a whole file.
    """
    # Values come before tables: after the header of a table they would belong to it.
    lines = []
    tables = {}
    for key, value in raw.items():
        if isinstance(value, Mapping):
            tables[key] = value
        else:
            lines.append(f"{_format_key(key)} = {_format_value(value)}")
    # A table that contains only tables is implied by their headers.
    if table_name and (lines or not tables):
        lines.insert(0, f"[{table_name}]")
    blocks = []
    if lines:
        blocks.append("\n".join(lines))
    for key, table in tables.items():
        text = to_toml(table, join_key(table_name, _format_key(key)))
        blocks.append(text.rstrip("\n"))
    # A table that is omitted because it is empty must not leave blank lines.
    return "\n\n".join(block for block in blocks if block) + "\n"


def _format_key(key: str) -> str:
    # TOML allows letters, digits, - and _ in a key without quotes.
    is_bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    if is_bare:
        return key
    return _format_value(key)


def _format_value(value: Any) -> str:
    # Strings, numbers, booleans and lists are written as in JSON, but TOML forbids a bare DEL in a string.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
