"""Where pieces stand in a text that the tokenizer has normalized: what is cut out of the original is what they stand for, and no more."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from masscli.data.prepare.record_encoder import load_table
from masscli.objectives.extract.question_windows import answer_token_span
from masscli.text.char_offsets import (
    SHARED_TEXT_WORD,
    char_offsets,
    encode_with_offsets,
)
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer

PLAIN = [
    "the",
    "dog",
    "cafe",
    "fine",
    "sees",
    "a",
    "house",
    "1925",
    "(",
    ")",
    ".",
    ",",
    "-",
    '"',
    "e",
    "i",
    "f",
    "/",
]
ODD = [
    "Caf\u00e9",
    "cafe\u0301",
    "\ufb01ne",
    "\u00bd",
    "\u2026",
    "\uff24og",
    "\u2460",
    "n\u0303",
    "gro\u00df",
    "\u2122",
    "\u00e9e",
]
VOCAB = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "cafe",
    "fin",
    "##e",
    "dog",
    ".",
    ",",
    "-",
    "(",
    ")",
    "\u201e",
    "\u201d",
    '"',
]


def trained(folder: Path, words: list[str], size: int, **options: Any) -> Tokenizer:
    lines = (" ".join(words) for _ in range(20))
    return Tokenizer.train(
        lines,
        vocab_size=size,
        preprocessing=TextPreprocessing(**options),
        languages=("en",),
        folder=folder,
    )


def drawn(draw: random.Random, words: list[str]) -> str:
    """Words with punctuation on them."""
    return "".join(
        draw.choices([*words, ".", ",", "(", ")", "-"], k=draw.randint(1, 5))
    )


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Hardly more pieces than letters."""
    return trained(tmp_path_factory.mktemp("letters"), [*PLAIN, *ODD], 64)


@pytest.fixture(scope="module")
def wordpieces(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("wordpieces")
    (folder / "vocab.txt").write_text(
        "".join(f"{piece}\n" for piece in VOCAB), encoding="utf-8"
    )
    preprocessing = TextPreprocessing(lowercase=True)
    return Tokenizer.from_model_file(
        folder / "vocab.txt",
        preprocessing=preprocessing,
        languages=("en",),
        folder=folder / "made",
    )


def test_offsets_are_those_of_sentencepieces_own_normalization(
    letters: Tokenizer,
) -> None:
    """Its table from letters of the normal form to those of the original; a letter that became several lends its place to all of them."""
    draw, changed = random.Random(1), 0
    for _ in range(400):
        word = drawn(draw, [*PLAIN, *ODD])
        ids, begins, ends = encode_with_offsets(letters, word, "en")
        normal, origin = letters._model.processor.normalize(word, with_offsets=True)
        assert (
            letters.vocab.unk not in ids
            and "".join(letters.ids_to_pieces(ids)) == normal
        )
        at = 0
        for piece, begin, end in zip(
            letters.piece_texts(ids), begins, ends, strict=True
        ):
            at += normal[at] == "\u2581"
            if piece:
                stop = at + len(piece)
                assert (begin, end) == (
                    origin[at],
                    next(o for o in origin if o > origin[stop - 1]),
                ), (
                    word,
                    piece,
                )
                at = stop
        changed += word != normal[1:]
    assert changed > 100


def test_an_unknown_piece_covers_letters_that_no_other_piece_covers(
    letters: Tokenizer,
) -> None:
    """Every other word consists of letters that the vocabulary lacks."""
    draw = random.Random(2)
    for _ in range(200):
        parts = [
            draw.choice(["\u0436\u0443\u043a", "\u4e2d"] if n % 2 else PLAIN[:6])
            for n in range(draw.randint(2, 5))
        ]
        ids, begins, ends = encode_with_offsets(letters, "".join(parts), "en")
        expected, at = [], 0
        for n, part in enumerate(parts):
            expected += [(at, at + len(part))] * (n % 2)
            at += len(part)
        assert [
            (a, b)
            for i, a, b in zip(ids, begins, ends, strict=True)
            if i == letters.vocab.unk
        ] == expected
        assert max(ends) == at


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("The Caf\u00e9, (\u00c9)", ["The", "Caf\u00e9", ",", "(", "\u00c9", ")"]),
        ("cafe\u0301-fine.", ["cafe\u0301", "-", "fin", "e", "."]),
        (
            "\u201e\u0436\u0443\u043a\u201d, dog",
            ["\u201e", "\u0436\u0443\u043a", "\u201d", ",", "dog"],
        ),
        ("dog\u00bb,", ["dog", "\u00bb", ","]),
        ("\u4e2d\u6587dog", ["\u4e2d", "\u6587", "dog"]),
        ("(\u200bdog\u00ad)", ["(", "dog", ")"]),
        ("the " + "dog" * 90 + ".", ["the", "dog" * 90, "."]),
    ],
)
def test_removed_accents_do_not_widen_spans(
    text: str, places: list[str], wordpieces: Tokenizer
) -> None:
    """An uncased WordPiece reads accents, invisible characters, and words that are unknown or too long."""
    _, begins, ends = encode_with_offsets(wordpieces, text, "en")
    assert [text[a:b] for a, b in zip(begins, ends, strict=True)] == places


def test_a_long_word_of_few_letters_takes_no_minutes() -> None:
    """Where the pieces lack letters, the beginning and the end are still exact."""
    word = "http" + "-a" * 2000 + "end"
    pieces = ["http", *"-" * 1999, "\0", "end"]
    started = time.process_time()
    offsets = char_offsets(word, pieces)
    assert time.process_time() - started < 5
    assert offsets[:2] == [(0, 4), (4, 5)]
    assert offsets[-1] == (4004, 4007)
    assert offsets[2:-1] == [(5, 4004)] * 1999


@pytest.mark.parametrize("more", [0, 1])
def test_a_long_run_of_marks_that_were_replaced_is_aligned(more: int) -> None:
    """Also if the last pieces are missing; then the last one stands for the rest."""
    offsets = char_offsets("-" * (1000 + more), ["."] * 1000)
    assert offsets[:-1] == [(at, at + 1) for at in range(999)]
    assert offsets[-1] == (999, 1000 + more)


def test_many_different_letters_are_aligned_in_a_long_word() -> None:
    """As in a paragraph of Chinese, whose pieces lack one letter."""
    word = "".join(chr(0x4E00 + number) for number in range(3000))
    pieces = [*word[:1000], "\0", *word[1001:2000], "\0", *word[2001:]]
    assert char_offsets(word, pieces) == [(at, at + 1) for at in range(3000)]


def test_quotes_that_moses_replaces_or_swaps_are_aligned(tmp_path: Path) -> None:
    straight = trained(tmp_path, [*PLAIN, *ODD], 64, normalize=True, moses=True)
    for text in (
        "\u201edog\u201d",
        "\u201edog\u201d.",
        "\u2018dog\u2019,",
        "(dog\u2026)",
    ):
        ids, begins, ends = encode_with_offsets(straight, text, "en")
        known = [
            n for n, piece in enumerate(straight.piece_texts(ids)) if piece.isalpha()
        ]
        first, last = known[0], known[-1]
        assert text[begins[first] : ends[last]] == "dog"
        assert (text[: ends[first - 1]], begins[last + 1], ends[-1]) == (
            text[0],
            text.index("g") + 1,
            len(text),
        )


def test_no_letter_is_lost_and_offsets_never_decrease(
    letters: Tokenizer, wordpieces: Tokenizer
) -> None:
    draw = random.Random(3)
    for tokenizer in (letters, wordpieces):
        for _ in range(200):
            text = " ".join(
                drawn(
                    draw,
                    [*PLAIN, *ODD, "\u0436", "\u00a0", "\u0301", "\u4e2d", "\u2581"],
                )
                for _ in range(3)
            )
            _, begins, ends = encode_with_offsets(tokenizer, text, "en")
            assert begins == sorted(begins) and ends == sorted(ends)
            assert all(
                0 <= a <= b <= len(text) for a, b in zip(begins, ends, strict=True)
            )
            covered = {
                at for a, b in zip(begins, ends, strict=True) for at in range(a, b)
            }
            assert [
                c for at, c in enumerate(text) if c.isalnum() and at not in covered
            ] == [], text


def test_answers_are_extracted_exactly_where_pieces_allow_it(
    letters: Tokenizer, tmp_path: Path
) -> None:
    """Answers that begin and end with a piece are extracted exactly, also where the text is normalized; other
    answers are inside the extracted text."""
    draw, asked, exact = random.Random(4), [], 0
    context = " ".join(drawn(draw, [*PLAIN, *ODD, "\u0436"]) for _ in range(120))
    words = list(SHARED_TEXT_WORD.finditer(context))
    for n in range(150):
        first, last = sorted(
            (draw.choice(words), draw.choice(words)), key=lambda word: word.start()
        )
        begin, end = (
            draw.randrange(first.start(), first.end()),
            draw.randint(last.start() + 1, last.end()),
        )
        if begin < end:
            asked.append(
                {
                    "id": str(n),
                    "question": "?",
                    "answers": [{"text": context[begin:end], "answer_start": begin}],
                }
            )
    (tmp_path / "x.json").write_text(
        json.dumps({"data": [{"paragraphs": [{"context": context, "qas": asked}]}]}),
        encoding="utf-8",
    )
    table = load_table(tmp_path / "x.json", "squad", letters, "en")
    begins, ends = (
        table.columns["context.begin"][0].tolist(),
        table.columns["context.end"][0].tolist(),
    )
    for row in range(len(table)):
        found, answer, start = (
            answer_token_span(table, row),
            table.strings("answers", row)[0],
            int(table.numbers("start", row)[0]),
        )
        assert found is not None
        told = context[begins[found[0]] : ends[found[1]]]
        assert answer in told
        inside = any(
            a < at < b
            for at in (start, start + len(answer))
            for a, b in zip(begins, ends, strict=True)
        )
        assert inside or told == answer
        exact += told == answer
    assert exact > 50
