"""Rules that many configuration sections have, for use in `check`. A field that is None satisfies them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from masscli.core.config.declare import Rule

MAX_WORKERS = 1024
"""Maximum number of processes, or threads, that a command may start."""


def positive(section: Any, *names: str) -> list[Rule]:
    """Return one rule for each named field: its value is above 0."""
    return _rules(section, names, lambda value: value > 0, "must be above 0")


def at_least(section: Any, limit: float, *names: str) -> list[Rule]:
    """Return one rule for each named field: its value is `limit` or more."""
    return _rules(
        section, names, lambda value: value >= limit, f"must be at least {limit}"
    )


def at_most(section: Any, limit: int, *names: str) -> list[Rule]:
    """Return one rule for each named field: its value does not exceed `limit`.

    Such limits are far above every useful value, but low enough that a machine can allocate or count so
    much.
    """
    return _rules(
        section, names, lambda value: value <= limit, f"must not exceed {limit}"
    )


def not_negative(section: Any, *names: str) -> list[Rule]:
    """Return one rule for each named field: its value is 0 or more."""
    return _rules(section, names, lambda value: value >= 0, "must not be negative")


def below_one(section: Any, *names: str) -> list[Rule]:
    """Return one rule for each named field: its value is in [0, 1), like a dropout probability."""
    return _rules(section, names, lambda value: 0 <= value < 1, "must lie in [0, 1)")


def each_once(section: Any, **kinds: str) -> list[Rule]:
    """Return one rule for each named field, a tuple of texts: it names nothing twice.

    The value of `kinds` is what the field names, such as `language`.
    """
    rules = []
    for name, kind in kinds.items():
        named = getattr(section, name)
        is_valid = len(set(named)) == len(named)
        rules.append((is_valid, name, f"names a {kind} twice: {','.join(named)}"))
    return rules


def _rules(
    section: Any, names: tuple[str, ...], holds: Callable[[Any], bool], requirement: str
) -> list[Rule]:
    rules = []
    for name in names:
        value = getattr(section, name)
        # An option that is not set cannot break a rule.
        rules.append(
            (value is None or holds(value), name, f"{requirement}, got {value}")
        )
    return rules
