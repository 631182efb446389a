"""Caches of words do not grow without end."""

from __future__ import annotations

import pytest

from masscli.text.word_cache import remember


def test_a_full_cache_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masscli.text.word_cache.MAX_CACHED_WORDS", 2)
    cache: dict[str, list[int]] = {}
    for word, words in (
        ("a", ["a"]),
        ("b", ["a", "b"]),
        ("c", ["c"]),
        ("d", ["c", "d"]),
    ):
        remember(cache, word, [1])
        assert list(cache) == words
