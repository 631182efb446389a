"""Small vocabularies of every kind that can be extended, and text of a language that they were not made for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import sentencepiece

from masscli.text.bpe_codes import pack_bpe_codes
from masscli.text.byte_level_bpe import BYTE_LETTERS, pack_byte_level_bpe
from masscli.text.dictionary_model import pack_dictionary
from masscli.text.numbered_sentencepiece import pack_numbered_sentencepiece
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer

OLD = [
    "the small red house has an old garden, and the dog sees a cat in it.",
    "das kleine rote Haus hat einen alten Garten, und der Hund sieht eine Katze.",
    "a cat walks to the house; the old dog sleeps in the garden!",
    "der alte Hund schläft im Garten, die Katze geht zum Haus.",
    "nothing here is new: 12 houses, 34 gardens and 560 dogs.",
] * 4
NEW = [
    "școala și casa țării sunt aici, iar copiii învață în școală.",
    "o casă veche are o grădină; pisica vede câinele și școala.",
    "copiii din această țară învață românește în fiecare școală!",
    "câinele bătrân doarme în grădină, iar pisica merge acasă.",
    "12 case, 34 de grădini și 560 de câini: așa este țara.",
] * 4
LANGUAGES = ("en", "de")
SPECIAL = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}
MERGES = [
    "t h",
    "th e</w>",
    "h a",
    "ha us</w>",
    "u s</w>",
    "a t</w>",
    "c at</w>",
    "d o",
    "do g</w>",
    "s e",
]


def _letters() -> list[str]:
    return sorted(set("".join(OLD)) - {" "})


def _trained(folder: Path, preprocessing: TextPreprocessing) -> Tokenizer:
    lines = [*preprocessing.apply(OLD, "en")]
    return Tokenizer.train(
        iter(lines),
        vocab_size=110,
        preprocessing=preprocessing,
        languages=LANGUAGES,
        folder=folder,
    )


def foreign_sentencepiece(model_type: str, size: int) -> bytes:
    """A SentencePiece model as its own trainer makes it by default, with the unknown piece first."""
    model = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(OLD),
        model_writer=model,
        model_type=model_type,
        vocab_size=size,
        minloglevel=2,
    )
    return model.getvalue()


def _from_bytes(data: bytes, preprocessing: TextPreprocessing) -> Tokenizer:
    return Tokenizer.from_bytes(Path("vocab.model"), data, preprocessing, LANGUAGES)


def _wordpiece() -> bytes:
    letters = _letters()
    pieces = [
        "[PAD]",
        "[unused0]",
        "[unused1]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "cat",
        "##den",
    ]
    pieces += [*letters, *(f"##{letter}" for letter in letters)]
    return "\n".join(pieces).encode()


def _bpe_codes() -> bytes:
    letters = _letters()
    return pack_bpe_codes(
        [
            *letters,
            *(f"{letter}@@" for letter in letters),
            "the",
            "th@@",
            "cat",
            "do@@",
            "dog",
        ],
        MERGES,
    )


def _dictionary() -> bytes:
    letters = _letters()
    pieces = [
        *SPECIAL,
        *letters,
        *(f"{letter}@@" for letter in letters),
        "the",
        "cat",
        "dog",
        "th@@",
    ]
    return pack_dictionary(pieces, SPECIAL, MERGES)


def _byte_level() -> bytes:
    merges = [
        ("t", "h"),
        ("th", "e"),
        ("Ġ", "the"),
        ("Ġ", "d"),
        ("Ġd", "o"),
        ("Ġdo", "g"),
    ]
    pieces = [*SPECIAL, *BYTE_LETTERS, *(first + second for first, second in merges)]
    return pack_byte_level_bpe(pieces, merges, SPECIAL)


def _numbered() -> bytes:
    model = foreign_sentencepiece("unigram", 70)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    # A dictionary in another order, without some of the pieces.
    pieces = [
        processor.id_to_piece(number) for number in range(len(processor) - 3, 2, -1)
    ]
    return pack_numbered_sentencepiece(
        model, [*SPECIAL, *pieces, "<de_DE>"], SPECIAL | {"de_DE": 5 + len(pieces)}
    )


PLAIN = TextPreprocessing()
MAKERS: dict[str, Callable[[Path], Tokenizer]] = {
    "trained": lambda folder: _trained(folder, PLAIN),
    "moses, lower case": lambda folder: _trained(
        folder, TextPreprocessing(moses=True, lowercase=True)
    ),
    "sentencepiece unigram": lambda folder: _from_bytes(
        foreign_sentencepiece("unigram", 70), PLAIN
    ),
    "sentencepiece bpe": lambda folder: _from_bytes(
        foreign_sentencepiece("bpe", 100), PLAIN
    ),
    "numbered": lambda folder: _from_bytes(_numbered(), PLAIN),
    "wordpiece": lambda folder: _from_bytes(_wordpiece(), PLAIN),
    "wordpiece, lower case": lambda folder: _from_bytes(
        _wordpiece(), TextPreprocessing(lowercase=True)
    ),
    "bpe codes": lambda folder: _from_bytes(
        _bpe_codes(), TextPreprocessing(moses=True)
    ),
    "dictionary": lambda folder: _from_bytes(_dictionary(), PLAIN),
    "byte-level": lambda folder: _from_bytes(_byte_level(), PLAIN),
}
"""A function for each kind that makes a tokenizer of it; those that SentencePiece trains are written to a folder."""


def prepared(tokenizer: Tokenizer, lines: Sequence[str] = NEW) -> list[str]:
    """Lines of Romanian as the vocabulary wants them before they are cut."""
    return list(tokenizer.preprocessing.apply(lines, "ro"))
