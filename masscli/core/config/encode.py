"""Turn configuration sections back into plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any


def to_dict(section: Any) -> dict[str, Any]:
    """Return a section as plain data (dictionaries, lists, strings, numbers), the inverse of `from_dict`.

    Fields that are None are left out, since TOML has no null; an optional field therefore always has None as
    its default.
    """
    # Not dataclasses.asdict, which would keep None, tuples and paths.
    raw = {}
    for field in fields(section):
        value = getattr(section, field.name)
        if value is not None:
            raw[field.name] = _to_plain(value)
    return raw


def _to_plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {key: _to_plain(item) for key, item in value.items()}
    # TOML and JSON know lists only.
    if isinstance(value, tuple):
        return [_to_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value
