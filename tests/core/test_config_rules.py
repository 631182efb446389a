"""The rules that configuration sections share name the field and its value; None satisfies them."""

from __future__ import annotations

import pytest

from masscli.core.config import (
    ConfigError,
    at_most,
    below_one,
    check,
    config,
    not_negative,
    positive,
)


@config
class Section:
    """A section of three numbers."""

    size: int | None = 1
    """A size."""
    count: int = 0
    """A count."""
    rate: float = 0.0
    """A rate."""

    def __post_init__(self) -> None:
        check(
            *positive(self, "size"),
            *at_most(self, 1000, "size"),
            *not_negative(self, "count"),
            *below_one(self, "rate"),
        )


def test_values_at_the_bounds_are_accepted() -> None:
    assert Section(size=None, count=0, rate=0.0).size is None
    assert Section(size=1, count=3, rate=0.999).rate == 0.999
    assert Section(size=1000).size == 1000


def test_a_size_that_no_machine_has_room_for_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^size: must not exceed 1000, got 1001$"):
        Section(size=1001)


def test_every_broken_rule_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        Section(size=0, count=-1, rate=1.0)
    assert error.value.message.split("\n") == [
        "size: must be above 0, got 0",
        "count: must not be negative, got -1",
        "rate: must lie in [0, 1), got 1.0",
    ]
