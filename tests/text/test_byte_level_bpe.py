"""Byte-level BPE: where GPT-2 cuts a line, a slow oracle of merging, special pieces, offsets, damage, and Hugging Face's tokenizers."""

from __future__ import annotations

import json
import random
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from masscli.core.errors import MasscliError
from masscli.data.formats.record import Record
from masscli.data.prepare.record_encoder import table_of_records
from masscli.text.byte_level_bpe import (
    BYTE_LETTERS,
    ByteLevelModel,
    pack_byte_level_bpe,
    split_words,
)
from masscli.text.char_offsets import encode_with_offsets
from masscli.text.markers import UNKNOWN_TEXT
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.text.word_starts import word_starts

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SPECIAL_IDS = {piece: i for i, piece in enumerate(SPECIAL)}
MERGES = [
    ("t", "h"),
    ("th", "e"),
    ("Ġ", "the"),
    ("Ġ", "d"),
    ("Ġd", "o"),
    ("Ġdo", "g"),
    ("Ã", "©"),
    ("o", "o"),
]


def model(
    merges: list[tuple[str, str]] = MERGES, prefix: bool = False
) -> ByteLevelModel:
    return ByteLevelModel(packed(merges, prefix))


def packed(merges: list[tuple[str, str]] = MERGES, prefix: bool = False) -> bytes:
    merged = dict.fromkeys(first + second for first, second in merges)
    return pack_byte_level_bpe(
        [*SPECIAL, *BYTE_LETTERS, *merged], merges, SPECIAL_IDS, add_prefix_space=prefix
    )


def pieces_of(text: str, **options: bool) -> list[str]:
    pieces = model(**options)
    return pieces.id_to_piece(pieces.encode([text])[0])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Hello world", ["Hello", " world"]),
        ("I'll, we've  'S", ["I", "'ll", ",", " we", "'ve", " ", " '", "S"]),
        ("a  b\t\tc ", ["a", " ", " b", "\t", "\t", "c", " "]),
        ("x²½ 42nd", ["x", "²½", " 42", "nd"]),
        ("naïve_\u0301e", ["naïve", "_\u0301", "e"]),
        ("中文。", ["中文", "。"]),
        ("a\u00a0b\x1cc\x85d", ["a", "\u00a0", "b", "\x1c", "c", "\x85", "d"]),
        ("", []),
    ],
)
def test_lines_are_cut_where_gpt2_cuts_them(line: str, words: list[str]) -> None:
    """The oracle is GPT-2's regular expression: contractions, then letters, numbers or others after at most one
    space, then white space."""
    assert list(split_words(line)) == words


def test_merges_and_spaces() -> None:
    assert pieces_of("the dog the") == ["the", "Ġdog", "Ġthe"]
    assert pieces_of("dog the", prefix=True) == ["Ġdog", "Ġthe"]
    assert pieces_of("") == pieces_of("", prefix=True) == []
    assert pieces_of("é") == ["Ã©"]


def merge_slowly(letters: list[str], merges: list[tuple[str, str]]) -> list[str]:
    """Look through the whole word for the leftmost pair with the earliest merge, again and again."""
    while True:
        ranked = [
            (merges.index(pair), i)
            for i, pair in enumerate(pairwise(letters))
            if pair in merges
        ]
        if not ranked:
            return letters
        _, i = min(ranked)
        letters = [*letters[:i], letters[i] + letters[i + 1], *letters[i + 2 :]]


def test_merging_against_a_slow_oracle() -> None:
    draw = random.Random(3)
    for _ in range(200):
        merges: list[tuple[str, str]] = []
        parts = ["a", "b", "c"]
        # Merges in any order, also ones that a trainer would not find.
        for _ in range(draw.randrange(1, 12)):
            pair = (draw.choice(parts), draw.choice(parts))
            if pair not in merges:
                merges.append(pair)
                parts.append("".join(pair))
        pieces = model(draw.sample(merges, len(merges)))
        word = "".join(draw.choice("abc") for _ in range(draw.randrange(1, 20)))
        assert pieces.id_to_piece(pieces.encode([word])[0]) == merge_slowly(
            list(word), pieces.merges
        )


def test_any_text_survives_encoding_and_decoding() -> None:
    draw = random.Random(5)
    pieces = model()
    for _ in range(300):
        text = "".join(
            chr(draw.choice([*range(32, 127), 9, 0xE9, 0x4E2D, 0x1F600]))
            for _ in range(12)
        )
        [ids] = pieces.encode([text])
        assert pieces.decode(ids) == text
        assert not set(ids) & set(SPECIAL_IDS.values())
    assert (
        model(prefix=True).decode(model(prefix=True).encode(["the dog"])[0])
        == "the dog"
    )


def test_broken_utf8_and_unknown_pieces_are_visible() -> None:
    pieces = model([])
    ids = pieces.encode(["é"])[0]
    assert pieces.decode(ids[:1]) == "\ufffd"
    assert pieces.decode([3, *ids]) == f"{UNKNOWN_TEXT}é"


def test_names_of_special_pieces_in_text_are_text() -> None:
    tokenizer = Tokenizer.from_bytes(Path("x"), packed(), TextPreprocessing(), ("en",))
    ids = tokenizer.encode("a <mask> </s> b", "en")
    assert tokenizer.vocab.mask == 4
    assert not set(ids) & tokenizer.vocab.special_ids
    assert tokenizer.decode([0, *ids, 2], "en") == "a <mask> </s> b"


def test_a_word_of_a_hundred_thousand_letters_is_encoded_quickly() -> None:
    begin = time.process_time()
    assert len(pieces_of("o" * 100_000)) == 50_000
    assert time.process_time() - begin < 5


def test_offsets_and_word_starts() -> None:
    tokenizer = Tokenizer.from_bytes(Path("x"), packed(), TextPreprocessing(), ("en",))
    text = "the dog, théx"
    ids, begins, ends = encode_with_offsets(tokenizer, text, "en")
    assert ids == tokenizer.encode(text, "en"), "words know the space before them"
    assert [text[begin:end] for begin, end in zip(begins, ends, strict=True)] == [
        "the", "dog", ",", "", "th", "é", "x"]  # fmt: skip
    starts = word_starts(tokenizer)
    assert starts(np.array(ids))[1:].tolist() == [True, True, True, False, False, False]


def test_damage_is_one_line() -> None:
    def error(data: bytes) -> str:
        with pytest.raises(MasscliError) as caught:
            Tokenizer.from_bytes(
                Path("vocab.model"), data, TextPreprocessing(), ("en",)
            )
        return str(caught.value.args[0])

    assert (
        error(packed()[:-5])
        == "vocab.model: is a damaged vocabulary of the kind byte-level-bpe"
    )
    header, _, content = packed().partition(b"\n")
    for key, value in (
        ("pieces", ["a", "a"]),
        ("merges", [["a"]]),
        ("special_ids", {"<s>": 10_000}),
        ("unused_ids", [-1]),
        ("add_prefix_space", 1),
    ):
        changed = json.dumps(json.loads(content) | {key: value}).encode()
        assert (
            error(header + b"\n" + changed)
            == "vocab.model: is a damaged vocabulary of the kind byte-level-bpe"
        )
    assert (
        error(header + b"\n" + b"[" * 100_000)
        == "vocab.model: is a damaged vocabulary of the kind byte-level-bpe"
    )
    few = pack_byte_level_bpe(["a", "b"], [], {})
    assert (
        error(few)
        == "vocab.model: lacks 254 of the 256 bytes, and has no unknown piece"
    )


@pytest.mark.peer
@pytest.mark.parametrize("prefix", [False, True])
def test_ids_are_those_of_hugging_face(prefix: bool, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip(
        "tokenizers", reason="Hugging Face's tokenizers is not installed"
    )
    draw = random.Random(7)
    alphabet = [
        *map(chr, range(32, 127)),
        *" \t\u00a0\x85\x1c\u2028\u3000\u200béßñ中文あ한😀½²'",
    ]
    lines = [
        "".join(draw.choice(alphabet) for _ in range(draw.randrange(40)))
        for _ in range(2000)
    ]
    lines += ["  two", "it's we'll I'd've", "", " ", "A dog's tail, 3.50 €!"]
    peer = tokenizers.ByteLevelBPETokenizer(add_prefix_space=prefix)
    peer.train_from_iterator(
        lines[:1000], vocab_size=600, special_tokens=SPECIAL, show_progress=False
    )
    peer.save_model(str(tmp_path))
    ids = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    listed = (
        (tmp_path / "merges.txt")
        .read_text(encoding="utf-8")
        .rstrip("\n")
        .split("\n")[1:]
    )
    pairs = [
        (first, second) for first, _, second in (line.partition(" ") for line in listed)
    ]
    # Of a merge that a damaged list names twice, the last place counts.
    for repeated in ([], pairs[:5]):
        merges = [*pairs, *repeated]
        ours = ByteLevelModel(
            pack_byte_level_bpe(
                sorted(ids, key=ids.get), merges, SPECIAL_IDS, add_prefix_space=prefix
            )
        )
        peer = tokenizers.ByteLevelBPETokenizer(ids, merges, add_prefix_space=prefix)
        assert ours.encode(lines) == [
            encoded.ids for encoded in peer.encode_batch(lines)
        ]


def test_words_of_a_sentence_are_read_with_spaces_between_them() -> None:
    """Items of a list in other formats are texts of their own."""
    tokenizer = Tokenizer.from_bytes(Path("x"), packed(), TextPreprocessing(), ("en",))
    sentences = [
        Record(1, lists={"1": ["the", "dog", "the"]}),
        Record(5, lists={"1": ["dog"]}),
    ]
    for format, expected in (
        ("conll", ["the", "\u0120dog", "\u0120the", "d", "o", "g"]),
        ("jsonl", ["the", "d", "o", "g", "the", "d", "o", "g"]),
    ):
        table = table_of_records(sentences, "x", format, tokenizer, "en")
        ids = table.ids("1")
        pieces = [tokenizer.ids_to_pieces(ids[n].tolist()) for n in range(len(ids))]
        assert [piece for word in pieces for piece in word] == expected
