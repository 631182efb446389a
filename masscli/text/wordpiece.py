"""WordPiece with BERT's `vocab.txt` (Devlin et al. 2019), behind the few methods of SentencePiece that the tokenizer needs.

    basic tokens   control characters out, white space to spaces, a space around every CJK character; for lower-cased vocabularies accents
                   off (NFD without Mn); then every punctuation mark is a word of its own (all ASCII that is no letter or digit counts)
    pieces         of each word the longest one that is known, again and again, all but the first with `##` in front; a word that cannot be
                   put together so, or has more than 200 characters, is [UNK]

[CLS] and [SEP] are also the start and the end symbol, as in the models of the MASS authors.  Languages and reserved ids take [unused...].
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from masscli.core.errors import MasscliError

MAX_WORD_LENGTH = 200
REQUIRED_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CJK = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
        (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))  # fmt: skip


def is_wordpiece(model: bytes) -> bool:
    """Whether a file is meant as such a vocabulary: lines of text, among them one of BERT's special symbols, or a piece with `##`."""
    lines = set(re.split(rb"\r?\n", model)) if b"\0" not in model else set()
    return any(name.encode() in lines for name in REQUIRED_PIECES) or any(
        line.startswith(b"##") for line in lines
    )


class WordPieceModel:
    """The vocabulary, and text to ids and back.  `accents`: keep them (cased vocabularies)."""

    def __init__(self, model: bytes, accents: bool) -> None:
        try:
            text = model.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MasscliError(
                f"--spm-model: is not UTF-8 (byte {error.start})",
                "a vocab.txt has one piece a line, in UTF-8",
            ) from None
        self._pieces = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
        self._ids = {piece: n for n, piece in enumerate(self._pieces)}
        self._accents = accents
        if missing := [name for name in REQUIRED_PIECES if name not in self._ids]:
            hint = f"BERT's vocab.txt has a line each of {', '.join(REQUIRED_PIECES)}; one more at its end gets a new id"
            raise MasscliError(
                f"--spm-model: lacks {', '.join(missing)}, which a WordPiece vocabulary needs", hint
            )
        if len(self._ids) < len(self._pieces):
            twice = next(piece for n, piece in enumerate(self._pieces) if self._ids[piece] != n)
            raise MasscliError(
                f"--spm-model: the piece {twice!r} is there twice",
                "a vocab.txt has one piece a line, each once",
            )

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def special(self) -> dict[str, int]:
        """Ids of the special symbols, by the names that SentencePiece's have here."""
        names = ("<pad>", "<unk>", "<cls>", "<sep>", "<mask>")
        found = {name: self._ids[piece] for name, piece in zip(names, REQUIRED_PIECES, strict=True)}
        return {**found, "<s>": found["<cls>"], "</s>": found["<sep>"]}

    @property
    def free(self) -> list[int]:
        """Ids of [unused...], in order."""
        return [n for n, piece in enumerate(self._pieces) if re.fullmatch(r"\[unused\d+\]", piece)]

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of every line."""
        return [[i for word in basic_tokens(line, self._accents) for i in self._word(word)] for line in lines]

    def decode(self, ids: Sequence[int]) -> str:
        """Words with spaces between them; what is unknown leaves its mark (U+2047)."""
        return " ".join("\u2047" if piece == "[UNK]" else piece for piece in self.id_to_piece(ids)).replace(
            " ##", ""
        )

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Pieces as they stand in the file; an id beyond it has none."""
        return [self._pieces[i] if i < len(self._pieces) else f"<{i}>" for i in ids]

    def _word(self, word: str) -> list[int]:
        found, start = list[int](), 0
        while start < len(word) <= MAX_WORD_LENGTH:
            head = "##" if start else ""
            stop = next((n for n in range(len(word), start, -1) if head + word[start:n] in self._ids), 0)
            if not stop:
                break
            found.append(self._ids[head + word[start:stop]])
            start = stop
        return found if start == len(word) else [self._ids["[UNK]"]]


def basic_tokens(line: str, accents: bool) -> list[str]:
    """Words and punctuation marks of a line."""
    cleaned = "".join(_clean(c) for c in line)
    if not accents:
        cleaned = "".join(c for c in unicodedata.normalize("NFD", cleaned) if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if _punctuation(c) else c for c in cleaned).split()


def _clean(c: str) -> str:
    category = unicodedata.category(c)
    if c in "\t\n\r" or category == "Zs":
        return " "
    if c in "\0\ufffd" or category in ("Cc", "Cf"):
        return ""
    return f" {c} " if any(low <= ord(c) <= high for low, high in _CJK) else c


def _punctuation(c: str) -> bool:
    return (c.isascii() and not c.isalnum() and c.isprintable() and c != " ") or unicodedata.category(
        c
    ).startswith("P")
