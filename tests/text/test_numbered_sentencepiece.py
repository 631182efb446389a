"""SentencePiece with the ids of a dictionary: ids, unknown pieces, special pieces, damage, and XLM-R's and CamemBERT's tokenizers."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import sentencepiece

from masscli.core.errors import MasscliError
from masscli.text.markers import UNKNOWN_TEXT
from masscli.text.numbered_sentencepiece import (
    HEADER,
    NumberedSentencePieceModel,
    pack_numbered_sentencepiece,
)
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from tests.published import sentence_pieces

LINES = ["abc ade", "kuo ", " gié ﬁba", "", "  a   <s> </s> <mask>", "中文 abc"]


def pieces_of_model(path: Path) -> list[str]:
    sentence_pieces(path, 40)
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [model.id_to_piece(i) for i in range(len(model))]


def test_ids_are_those_of_the_dictionary(tmp_path: Path) -> None:
    pieces = pieces_of_model(tmp_path / "spm.model")
    # In another order, and without one of the pieces.
    dictionary = ["<s>", "<pad>", "</s>", "<unk>", *reversed(pieces[3:-1]), "<mask>"]
    special = {
        "<s>": 0,
        "<pad>": 1,
        "</s>": 2,
        "<unk>": 3,
        "<mask>": len(dictionary) - 1,
    }
    packed = pack_numbered_sentencepiece(
        (tmp_path / "spm.model").read_bytes(), dictionary, special
    )
    tokenizer = Tokenizer.from_bytes(
        tmp_path / "x", packed, TextPreprocessing(), ("en",)
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spm.model"))
    for line in LINES:
        ids = tokenizer.encode(line, "en")
        expected = model.encode(line, out_type=str)
        assert len(ids) == len(expected)
        for i, piece in zip(ids, expected, strict=True):
            if piece in dictionary[4:-1]:
                assert dictionary[i] == piece
            else:
                assert i == 3
    assert tokenizer.vocab.size == len(dictionary) + 1 + 8 + 2, (
        "a language, spares, [CLS] and [SEP] are new"
    )
    known = tokenizer.encode("kuo ade", "en")
    assert tokenizer.decode([0, *known, 2], "en") == "kuo ade"
    assert tokenizer.decode([*known, 3], "en") == f"kuo ade {UNKNOWN_TEXT}"


def test_damage_is_one_line(tmp_path: Path) -> None:
    pieces = pieces_of_model(tmp_path / "spm.model")
    content = {
        "model": base64.b64encode((tmp_path / "spm.model").read_bytes()).decode(),
        "pieces": pieces,
        "special_ids": {"<unk>": 0},
        "unused_ids": [],
    }

    def error(**changes: object) -> str:
        with pytest.raises(MasscliError) as caught:
            data = HEADER + json.dumps(content | changes).encode()
            Tokenizer.from_bytes(Path("x"), data, TextPreprocessing(), ("en",))
        return str(caught.value.args[0])

    damaged = "x: is a damaged vocabulary of the kind numbered-sentencepiece"
    for change in (
        {"model": 3},
        {"model": "!"},
        {"special_ids": {}},
        {"pieces": ["a", "a"]},
    ):
        assert error(**change) == damaged
    assert error(model="AAAA") == "x: is not a SentencePiece model"


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["XLMRoberta", "Camembert"])
def test_ids_are_those_of_hugging_face(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip(
        "transformers", reason="Hugging Face's transformers is not installed"
    )
    pytest.importorskip(
        "google.protobuf",
        reason="transformers reads SentencePiece models with protobuf",
    )
    pieces = pieces_of_model(tmp_path / "sentencepiece.bpe.model")
    peer = getattr(transformers, f"{kind}Tokenizer").from_pretrained(tmp_path)
    dictionary = ["<s>", "<pad>", "</s>", "<unk>", *pieces[3:], "<mask>"]
    special = {
        "<s>": 0,
        "<pad>": 1,
        "</s>": 2,
        "<unk>": 3,
        "<mask>": len(dictionary) - 1,
    }
    if kind == "Camembert":
        dictionary = [
            "<s>NOTUSED",
            "<pad>",
            "</s>NOTUSED",
            "<unk>",
            "<unk>NOTUSED",
            *pieces[1:],
            "<mask>",
        ]
        special = {
            "<pad>": 1,
            "<unk>": 3,
            "<s>": 5,
            "</s>": 6,
            "<mask>": len(dictionary) - 1,
        }
    model = (tmp_path / "sentencepiece.bpe.model").read_bytes()
    ours = NumberedSentencePieceModel(
        pack_numbered_sentencepiece(model, dictionary, special)
    )
    assert len(peer) == len(ours)
    assert [peer.convert_tokens_to_ids(piece) for piece in dictionary] == list(
        range(len(dictionary))
    )
    for line in LINES:
        # There the names of special pieces in a text become those pieces; here they are text.
        line = line.replace("<", "")
        expected = peer(line, add_special_tokens=False)["input_ids"]
        assert ours.encode([line])[0] == expected, line


def test_characters_that_the_model_lacks_are_bytes_if_it_writes_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "spm.model"
    options = {"byte_fallback": True, "hard_vocab_limit": False, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["abc ade", "kuo abd"] * 9),
        model_prefix=str(path.with_suffix("")),
        vocab_size=290,
        **options,
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    pieces = [model.id_to_piece(i) for i in range(len(model))]
    # A dictionary has the bytes that occurred in its text: here all but one.
    dictionary = ["<s>", "<pad>", "</s>", "<unk>", *pieces[3:]]
    dictionary.remove("<0xAD>")
    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    packed = pack_numbered_sentencepiece(path.read_bytes(), dictionary, special)
    tokenizer = Tokenizer.from_bytes(
        tmp_path / "x", packed, TextPreprocessing(), ("en",)
    )
    for text in ("abc \U0001f600 de", "\u00e9\u6587", "<0x41> abc"):
        ids = tokenizer.encode(text, "en")
        assert [dictionary[i] for i in ids] == model.encode(text, out_type=str)
        assert tokenizer.decode(ids, "en") == text
    # One byte of this letter is unknown, and so the other two are no letter.
    assert model.encode("\u4e2d", out_type=str)[1:] == ["<0xE4>", "<0xB8>", "<0xAD>"]
    lost = tokenizer.encode("\u4e2d", "en")
    assert lost[-1] == 3
    assert UNKNOWN_TEXT in tokenizer.decode(lost, "en")
