"""Lists in messages are cut, and the rest is counted."""

from __future__ import annotations

import pytest

from masscli.core.listing import count_of, list_some


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        ([], ""),
        (["a"], "a"),
        ([3, 7], "3, 7"),
        ([3, 7, 9], "3, 7 and 1 more"),
        (range(9), "0, 1 and 7 more"),
    ],
)
def test_names_that_are_not_listed_are_counted(
    names: list[object], listed: str
) -> None:
    assert list_some(names, 2) == listed


@pytest.mark.parametrize(
    ("number", "counted"), [(0, "0 lines"), (1, "1 line"), (12345, "12,345 lines")]
)
def test_one_is_singular(number: int, counted: str) -> None:
    assert count_of(number, "line") == counted
