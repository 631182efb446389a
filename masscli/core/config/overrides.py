"""Replace values in plain data, before `from_dict` turns it into a section."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from masscli.core.config.errors import ConfigError, Problem
from masscli.core.config.toml import MAX_DEPTH


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two nested mappings into a new dictionary.

    A value of `top` replaces the value of `base` under the same key, except that two tables are merged
    recursively.
    """
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        # Only tables are merged; a list replaces the whole list in `base`.
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def override(raw: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return a copy of `raw` in which assignments such as `optim.lr=1e-3` replace or add values.

    The values stay strings, which `from_dict` parses by the types of their fields. Raises ConfigError for an
    assignment without `=` or with an empty part in its key, for a key of more than MAX_DEPTH parts, or if a
    part of its key is a value and not a table.
    """
    # Tables below the top are changed in place, so a shallow copy would change the caller's.
    changed: dict[str, Any] = copy.deepcopy(dict(raw))
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(Problem(key, "expected KEY=VALUE"))
        if not all(key.split(".")):
            raise ConfigError(Problem(key, "a part of the key is empty"))
        # Walk down to the table that contains the key, and create the tables that do not exist
        # yet.
        *parents, leaf = key.split(".")
        if len(parents) >= MAX_DEPTH:
            raise ConfigError(
                Problem(f"{key[:40]}...", f"has more than {MAX_DEPTH} parts")
            )
        table = changed
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(Problem(key, f"{parent!r} is a value, not a table"))
        table[leaf] = value
    return changed
