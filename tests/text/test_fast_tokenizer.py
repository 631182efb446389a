"""A tokenizer.json through Hugging Face's library: ids, text, markers, what is missing or damaged."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from masscli.core.errors import MasscliError
from masscli.text.fast_tokenizer import pack_fast_tokenizer
from masscli.text.markers import UNKNOWN_TEXT
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.subword_model import BadModelError
from masscli.text.tokenizer import Tokenizer

VOCAB = {"[UNK]": 0, "ab": 1, "##c": 2, "d": 3, "[MASK]": 4, "covid": 5}
CONTENT: dict[str, Any] = {
    "version": "1.0",
    "added_tokens": [
        {"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": special}
        for i, content, special in ((4, "[MASK]", True), (5, "covid", False))
    ],
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100, "vocab": VOCAB},
}  # fmt: skip


def packed(content: dict[str, Any], special_ids: dict[str, int]) -> bytes:
    data, _ = pack_fast_tokenizer(
        content, lambda pieces: special_ids, len(content["model"]["vocab"])
    )
    return data


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MasscliError) as caught:
        packed(CONTENT, {"<unk>": 0})
    assert caught.value.hint == "pip install 'masscli[hf]'"


@pytest.mark.peer
def test_ids_text_and_special_pieces(tmp_path: Path) -> None:
    pytest.importorskip(
        "tokenizers", reason="Hugging Face's tokenizers is not installed"
    )
    data = packed(CONTENT, {"<unk>": 0, "<mask>": 4})
    tokenizer = Tokenizer.from_bytes(tmp_path / "x", data, TextPreprocessing(), ("en",))
    # An added token is found inside a word, as there; the name of a special one is text.
    assert tokenizer.encode("ABC d xcovid [MASK]", "en") == [1, 2, 3, 0, 5, 0, 0, 0]
    assert tokenizer.decode([4, 1, 2, 0, 3], "en") == f"abc {UNKNOWN_TEXT} d"
    assert tokenizer.subword_marker == "##"
    assert tokenizer.piece_texts([1, 2]) == ["ab", "c"]
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).encode("abc", "en") == [1, 2]


@pytest.mark.peer
def test_ends_of_words_are_shown_as_continuations(tmp_path: Path) -> None:
    pytest.importorskip(
        "tokenizers", reason="Hugging Face's tokenizers is not installed"
    )
    content = CONTENT | {
        "added_tokens": [],
        "decoder": {"type": "BPEDecoder", "suffix": "</w>"},
        "model": {"type": "BPE", "unk_token": "<unk>", "end_of_word_suffix": "</w>", "merges": [["a", "b</w>"]],
                  "vocab": {"<unk>": 0, "a": 1, "b": 2, "b</w>": 3, "ab</w>": 4}},
    }  # fmt: skip
    data = packed(content, {"<unk>": 0})
    tokenizer = Tokenizer.from_bytes(tmp_path / "x", data, TextPreprocessing(), ("en",))
    ids = tokenizer.encode("ab abb", "en")
    assert tokenizer.ids_to_pieces(ids) == ["ab", "a@@", "b@@", "b"]
    assert tokenizer.ids_to_pieces([0]) == ["<unk>"]


@pytest.mark.peer
def test_damage_is_one_line() -> None:
    pytest.importorskip(
        "tokenizers", reason="Hugging Face's tokenizers is not installed"
    )

    def error(data: bytes) -> str:
        with pytest.raises(MasscliError) as caught:
            Tokenizer.from_bytes(Path("x"), data, TextPreprocessing(), ("en",))
        return str(caught.value.args[0])

    data = packed(CONTENT, {"<unk>": 0})
    header, _, content = data.partition(b"\n")
    damaged = "x: is a damaged vocabulary of the kind fast-tokenizer"
    assert error(data[:-1]) == damaged
    for change in ({"tokenizer": 3}, {"special_ids": 3}, {"pieces": None}):
        assert (
            error(header + b"\n" + json.dumps(json.loads(content) | change).encode())
            == damaged
        )
    for part in (
        {"model": CONTENT["model"] | {"unk_token": "x"}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    ):
        with pytest.raises(
            BadModelError, match="is refused by Hugging Face's tokenizers"
        ):
            packed(CONTENT | part, {"<unk>": 0})
    wrong = json.loads(content) | {"tokenizer": CONTENT | {"model": {"type": "Magic"}}}
    assert error(header + b"\n" + json.dumps(wrong).encode()).startswith(
        "x: is refused by Hugging Face's"
    )
