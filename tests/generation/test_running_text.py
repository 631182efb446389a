"""Windows of running text: every token is predicted once, and windows that would not move on are refused."""

from __future__ import annotations

import pytest

from masscli.generation.running_text import windows


@pytest.mark.parametrize(
    ("size", "context"), [(1, 0), (7, 0), (7, 3), (7, 6), (100, 50)]
)
@pytest.mark.parametrize("length", [0, 1, 7, 8, 40])
def test_every_token_is_predicted_once(length: int, size: int, context: int) -> None:
    predicted = []
    for begin, first, end in windows(length, size, context):
        assert end - begin <= size
        assert first - begin == min(first, context)
        predicted += range(first, end)
    assert predicted == list(range(length))


@pytest.mark.parametrize(("size", "context"), [(7, 7), (7, 9), (7, -1), (0, 0)])
def test_windows_without_room_are_refused(size: int, context: int) -> None:
    with pytest.raises(ValueError, match="has no room for"):
        list(windows(10, size, context))
