"""Dictionaries of fairseq, and a vocabulary of its own for source and target."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from masscli.text.dictionary_model import HEADER, DictionaryModel, pack_dictionary
from masscli.text.model_kinds import (
    DICTIONARY,
    TWO_VOCABULARIES,
    detect_kind,
    open_model,
)
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.subword_model import BadModelError
from masscli.text.tokenizer import Tokenizer
from masscli.text.two_vocabularies import TwoVocabularies, pack_two_vocabularies

SPECIAL = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
NAMES = ["<s>", "<pad>", "</s>", "<unk>"]


def test_pieces_have_the_ids_of_the_dictionary() -> None:
    model = DictionaryModel(pack_dictionary([*NAMES, "the", "dog"], SPECIAL))
    # A special piece is no text.
    assert model.encode(["the  dog sleeps <s>"]) == [[4, 5, 3, 3]]
    assert model.decode([4, 5, 3]) == "the dog \u2047"
    assert model.id_to_piece([4, 9]) == ["the", "<9>"]


def test_merges_ignore_what_the_dictionary_has() -> None:
    merges = ["l o", "lo w</w>", "e r</w>"]
    model = DictionaryModel(
        pack_dictionary([*NAMES, "low", "lo@@", "l@@"], SPECIAL, merges=merges)
    )
    # subword-nmt without a vocabulary makes `er`, which is unknown, and does not take it apart again.
    assert model.encode(["low", "loer", "l"]) == [[4], [5, 3], [3]]
    assert model.decode([5, 4]) == "lolow"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"pieces": ["a"]}',
        b'{"pieces": ["<unk>"], "special_ids": {"<unk>": 7}}',
    ],
)
def test_a_damaged_dictionary_is_named(data: bytes) -> None:
    with pytest.raises(
        BadModelError, match="damaged vocabulary of the kind dictionary"
    ):
        DictionaryModel(HEADER + data)


def two(source: list[str], target: list[str]) -> bytes:
    return pack_two_vocabularies(
        ("en", pack_dictionary([*NAMES, *source], SPECIAL)),
        ("de", pack_dictionary([*NAMES, *target], SPECIAL)),
    )


def test_each_language_has_its_own_pieces(tmp_path: Path) -> None:
    data = two(["dog", "in"], ["hund", "in", "der"])
    assert detect_kind(data) == TWO_VOCABULARIES
    tokenizer = Tokenizer.from_bytes(tmp_path, data, TextPreprocessing(), ("en", "de"))
    vocab = tokenizer.vocab
    english, german = (
        tokenizer.encode("dog in hund", language) for language in ("en", "de")
    )
    assert english == [0, 1, vocab.unk]
    assert german[0] == vocab.unk
    assert len({*english, *german}) == 5
    assert tokenizer.decode(english, "en") == "dog in \u2047"
    assert tokenizer.decode(german, "de") == "\u2047 in hund"
    # The ids of the target follow its dictionary, special pieces included.
    assert [tokenizer.ids_to_pieces([vocab.unk + 1 + i])[0] for i in range(3)] == [
        "hund",
        "in",
        "der",
    ]
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).encode("der hund", "de") == tokenizer.encode(
        "der hund", "de"
    )


def test_ranges_of_two_vocabularies_fit() -> None:
    model = TwoVocabularies(
        two(["a", "b"], ["c"]),
        partial(open_model, kind=DICTIONARY, preprocessing=TextPreprocessing()),
    )
    shared = set(model.special_ids.values()) | set(model.free_ids)
    assert set(model.source_ids) & set(model.target_ids) == shared
    assert set(model.predicted_ids) == set(model.target_ids) - set(model.free_ids)
    assert len(model) == 2 + 16 + 4 + 1


def test_a_damaged_pair_is_named() -> None:
    data = two(["a"], ["b"])
    for broken in (
        data[:-1],
        data.replace(b"sizes", b"size?"),
        data.replace(b'"de"', b'"en"'),
        # The sum is still that of the bytes, but it is no whole number.
        re.sub(rb'"sizes": \[(\d+)', rb'"sizes": [\1.0', data),
    ):
        assert broken != data
        with pytest.raises(BadModelError, match="damaged pair"):
            TwoVocabularies(
                broken,
                partial(open_model, kind=DICTIONARY, preprocessing=TextPreprocessing()),
            )
