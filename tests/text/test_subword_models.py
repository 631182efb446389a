"""What holds for every kind of subword model: ids beyond the last one, and pieces that are no text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from masscli.text.bpe_codes import BpeCodesModel, pack_bpe_codes
from masscli.text.byte_level_bpe import (
    BYTE_LETTERS,
    ByteLevelModel,
    pack_byte_level_bpe,
)
from masscli.text.dictionary_model import DictionaryModel, pack_dictionary
from masscli.text.gpt_bpe import GptBpeModel, pack_gpt_bpe
from masscli.text.markers import UNKNOWN_TEXT
from masscli.text.numbered_sentencepiece import (
    NumberedSentencePieceModel,
    pack_numbered_sentencepiece,
)
from masscli.text.sentencepiece_model import SentencePieceModel, train_sentencepiece
from masscli.text.subword_model import BadModelError, SubwordModel
from masscli.text.wordpiece import REQUIRED_PIECES, WordPieceModel

LINES = ["ab abc", "cab ba", "ab cab"]


def sentencepiece() -> bytes:
    return train_sentencepiece(iter(LINES), 16, 1.0, ["<mask>"])


def numbered() -> NumberedSentencePieceModel:
    pieces = [
        "<s>",
        "<unk>",
        *SentencePieceModel(sentencepiece()).pieces_and_scores()[0][5:],
    ]
    return NumberedSentencePieceModel(
        pack_numbered_sentencepiece(sentencepiece(), pieces, {"<s>": 0, "<unk>": 1})
    )


MODELS: dict[str, Callable[[], SubwordModel]] = {
    "sentencepiece": lambda: SentencePieceModel(sentencepiece()),
    "numbered sentencepiece": numbered,
    "bpe codes": lambda: BpeCodesModel(
        pack_bpe_codes(["ab", "a@@", "b", "c", "b@@"], ["a b</w>"])
    ),
    "gpt": lambda: GptBpeModel(
        pack_gpt_bpe(
            ["<unk>", "a", "b</w>", "ab</w>", "c</w>", "spare"],
            [("a", "b</w>")],
            {"<unk>": 0},
            [5],
        )
    ),
    "byte-level": lambda: ByteLevelModel(
        pack_byte_level_bpe([*BYTE_LETTERS, "<s>"], [], {"<s>": 256})
    ),
    "dictionary": lambda: DictionaryModel(
        pack_dictionary(["<unk>", "ab", "c"], {"<unk>": 0})
    ),
    "wordpiece": lambda: WordPieceModel(
        "".join(f"{piece}\n" for piece in (*REQUIRED_PIECES, "ab", "##c")).encode(),
        True,
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_an_id_beyond_the_last_one_is_unknown(kind: str) -> None:
    model = MODELS[kind]()
    [ids] = model.encode(["ab"])
    for beyond in (len(model), len(model) + 7):
        text = model.decode([*ids, beyond])
        assert text.startswith("ab")
        assert UNKNOWN_TEXT.strip() in text
        assert model.id_to_piece([beyond]) == [f"<{beyond}>"]


def test_pieces_that_are_not_text_have_no_marker() -> None:
    model = MODELS["gpt"]()
    assert model.id_to_piece(range(7)) == [
        "<unk>",
        "a@@",
        "b",
        "ab",
        "c",
        "spare",
        "<6>",
    ]


def test_a_sentencepiece_model_with_a_piece_that_is_not_text_is_refused() -> None:
    damaged = sentencepiece().replace("▁cab".encode(), "▁ca".encode() + b"\xc0")
    with pytest.raises(BadModelError, match="has a piece that is not UTF-8"):
        SentencePieceModel(damaged)
