"""Write TOML; the standard library only reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from masscli.core.config.errors import join_key


def to_toml(raw: Mapping[str, Any], table_name: str = "") -> str:
    """Return plain data as the text of a TOML file, or of one of its tables.

    `table_name` is the header of the table, with quotes where it needs them.
    """
    # Values come before tables: after the header of a table they would belong to it.
    lines = []
    tables = {}
    for key, value in raw.items():
        if isinstance(value, Mapping):
            tables[key] = value
        else:
            lines.append(f"{_format_key(key)} = {_format_value(value)}")
    # A table that holds nothing but tables is implied by their headers.
    if table_name and (lines or not tables):
        lines.insert(0, f"[{table_name}]")
    blocks = []
    if lines:
        blocks.append("\n".join(lines))
    for key, table in tables.items():
        text = to_toml(table, join_key(table_name, _format_key(key)))
        blocks.append(text.rstrip("\n"))
    # A table that was left out, because it is empty, leaves no blank lines.
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
