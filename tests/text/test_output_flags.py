"""Each flag on what it is for, and none on ordinary translations."""

from __future__ import annotations

import pytest

from masscli.text.output_flags import SHORT_WORDS, output_flags

LANGUAGES = ("en", "de", "ru", "zh")
CASES = [
    ("A dog runs.", "", "de", ("empty",)),
    ("...", "", "de", ()),
    ("A dog runs in the park.", "Ein Hund läuft im Park.", "de", ()),
    ("A dog runs.", "hund " * 12, "de", ("looping",)),
    ("ha ha ha ha ha ha ha", "ha ha ha ha ha ha ha ha", "de", ()),
    ("A dog runs.", "a dog runs", "de", ("copied",)),
    ("Berlin", "Berlin", "de", ()),
    ("x", "The man is on the street.", "de", ("wrong-language",)),
    ("x", "Der Mann ist auf der Straße.", "en", ("wrong-language",)),
    ("x", "Собака бежит", "de", ("wrong-language",)),
    ("x", "A dog runs", "ru", ("wrong-language",)),
    ("x", "狗在跑", "zh", ()),
    ("x", "Il est dans la maison avec les enfants", "de", ()),
    ("x", "Something in a language without a list", "eo", ()),
]  # fmt: skip


@pytest.mark.parametrize(("source", "output", "target", "expected"), CASES)
def test_flags(
    source: str, output: str, target: str, expected: tuple[str, ...]
) -> None:
    """Only languages of the model are searched for, so French is not flagged."""
    assert output_flags(source, output, "fr", target, LANGUAGES) == expected


def test_a_task_within_one_language_may_copy() -> None:
    assert output_flags("the dog runs", "the dog runs", "en", "en", ("en",)) == ()


def test_every_list_has_its_words_once() -> None:
    for language, words in SHORT_WORDS.items():
        listed = words.split()
        assert 15 <= len(listed) == len(set(listed)), language
