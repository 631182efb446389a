"""WordPiece with BERT's `vocab.txt` (Devlin et al. 2019).

A line is first split into basic tokens: control, format and private-use characters and U+FFFD are
removed, tabs, line ends and other space characters become a space, and spaces are put around every CJK
character. For lower-cased vocabularies accents are removed (NFD without category Mn). Then every
punctuation mark becomes a token of its own; every ASCII character that is neither a letter nor a digit
counts as one.

A basic token is then split into pieces: from left to right, always the longest one that the vocabulary
has. All pieces but the first begin with `##`. A token that cannot be split in this way, or has more
than 100 characters, becomes [UNK].

[CLS] and [SEP] also serve as the start and the end symbol, as in the models of the MASS authors. Languages
and spare special pieces get the ids of [unused0], [unused1], ...
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property

from masscli.text.markers import UNKNOWN_TEXT, WORDPIECE_CONTINUATION, remove_marker
from masscli.text.subword_model import BadModelError, pieces_of

MAX_WORD_LENGTH = 100
"""A basic token with more characters than this is unknown, as in BERT."""
REQUIRED_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_UNKNOWN = "[UNK]"
_CJK_RANGES = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""The first and the last code point of each range of CJK characters, as in BERT."""


def is_wordpiece(data: bytes) -> bool:
    """Return whether the bytes of a file look like BERT's `vocab.txt`.

    They do if a line is one of BERT's special pieces or begins with `##`, and there is no NUL byte.
    """
    # A SentencePiece model is binary and may contain any text, too.
    if b"\0" in data:
        return False
    lines = set(re.split(rb"\r?\n", data))
    if any(piece.encode() in lines for piece in REQUIRED_PIECES):
        return True
    return any(line.startswith(WORDPIECE_CONTINUATION.encode()) for line in lines)


class WordPieceModel:
    """A subword model that is a WordPiece vocabulary of BERT; implements SubwordModel."""

    def __init__(self, data: bytes, keep_accents: bool) -> None:
        """Load the bytes of a `vocab.txt`; without `keep_accents`, encoding removes accents from text.

        Raises BadModelError if they are not UTF-8, if a piece occurs twice, or if a special piece is missing.
        """
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            hint = "a vocab.txt has one piece a line, in UTF-8"
            raise BadModelError(f"is not UTF-8 (byte {error.start})", hint) from None
        # The file keeps its byte order mark, since its bytes are copied unchanged.
        text = text.removeprefix("\ufeff")
        self._pieces = [
            line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")
        ]
        self._ids = {piece: i for i, piece in enumerate(self._pieces)}
        self._keep_accents = keep_accents
        self._check()

    def _check(self) -> None:
        """Raise BadModelError if a special piece is missing or a piece occurs twice."""
        missing = [piece for piece in REQUIRED_PIECES if piece not in self._ids]
        if missing:
            required = ", ".join(REQUIRED_PIECES)
            raise BadModelError(
                f"lacks {', '.join(missing)}, which a WordPiece vocabulary needs",
                f"BERT's vocab.txt has a line each of {required}; one more at its end gets a new id",
            )
        # The dictionary has the last of two equal pieces, so the first one differs from its entry.
        for i, piece in enumerate(self._pieces):
            if self._ids[piece] != i:
                raise BadModelError(
                    f"the piece {piece!r} occurs twice",
                    "a vocab.txt has one piece a line, each once",
                )

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The id of each special piece, by masscli's name for it. `<s>` is [CLS], and `</s>` is [SEP]."""
        return {
            "<pad>": self._ids["[PAD]"],
            "<unk>": self._ids["[UNK]"],
            "<cls>": self._ids["[CLS]"],
            "<sep>": self._ids["[SEP]"],
            "<mask>": self._ids["[MASK]"],
            # As in the models of the MASS authors.
            "<s>": self._ids["[CLS]"],
            "</s>": self._ids["[SEP]"],
        }

    @property
    def free_ids(self) -> Sequence[int]:
        """The ids of the pieces [unused0], [unused1], ... in increasing order."""
        return [
            i
            for i, piece in enumerate(self._pieces)
            if re.fullmatch(r"\[unused\d+\]", piece)
        ]

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return a list of token ids for each line, without start and end symbols."""
        unknown = self._ids[_UNKNOWN]
        encoded = []
        for line in lines:
            encoded.append(
                [
                    self.text_ids.get(piece, unknown)
                    for piece in self.encode_as_pieces(line)
                ]
            )
        return encoded

    def encode_as_pieces(self, line: str) -> list[str]:
        """Return the pieces of a line; a basic token that cannot be split into known pieces is one piece."""
        pieces: list[str] = []
        for token in basic_tokens(line, self._keep_accents):
            pieces += self._split_token(token)
        return pieces

    @cached_property
    def text_ids(self) -> Mapping[str, int]:
        """The id of each piece that text can be encoded into: all but special, unused and too long ones."""
        not_text = {*self.special_ids.values(), *self.free_ids}
        ids = {}
        for piece, i in self._ids.items():
            # As in BERT, a longer word is unknown, even if the vocabulary has it.
            is_short = (
                len(remove_marker(piece, WORDPIECE_CONTINUATION)) <= MAX_WORD_LENGTH
            )
            if is_short and i not in not_text:
                ids[piece] = i
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Join the pieces of each word, and return the words with spaces between them.

        Punctuation marks are words of their own. Unknown pieces, and ids beyond the vocabulary's end, are
        written as UNKNOWN_TEXT.
        """
        pieces = []
        for i in ids:
            if i >= len(self._pieces) or self._pieces[i] == _UNKNOWN:
                pieces.append(UNKNOWN_TEXT)
            else:
                pieces.append(self._pieces[i])
        return self.pieces_to_text(pieces)

    def pieces_to_text(self, pieces: Sequence[str]) -> str:
        """Return the words that pieces stand for, with spaces between them."""
        return " ".join(pieces).replace(f" {WORDPIECE_CONTINUATION}", "")

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id, as in `vocab.txt`; an id beyond its end is written like `<32000>`."""
        return pieces_of(ids, self._pieces)

    def _split_token(self, token: str) -> list[str]:
        """Return the longest known pieces of a basic token, taken from left to right.

        The result is the whole token if a part of it is not in the vocabulary, or if it is too long. Then it
        is not in `text_ids` either.
        """
        if len(token) > MAX_WORD_LENGTH:
            return [token]
        # Take the longest known piece at `start`, and continue after it.
        pieces = []
        start = 0
        while start < len(token):
            mark = WORDPIECE_CONTINUATION if start else ""
            end = len(token)
            while end > start and mark + token[start:end] not in self._ids:
                end -= 1
            # As in BERT, one unknown part makes the whole token unknown.
            if end == start:
                return [token]
            pieces.append(mark + token[start:end])
            start = end
        return pieces


def basic_tokens(line: str, keep_accents: bool) -> list[str]:
    """Return the words and punctuation marks of a line, as BERT's basic tokenizer does, without lower-casing.

    Control characters are removed, and so are accents unless `keep_accents` is given.
    """
    line = "".join(map(_clean, line))
    if not keep_accents:
        decomposed = unicodedata.normalize("NFD", line)
        line = "".join(
            letter for letter in decomposed if unicodedata.category(letter) != "Mn"
        )
    # Spaces around a mark make it a token of its own.
    spaced = []
    for letter in line:
        if _is_punctuation(letter):
            spaced.append(f" {letter} ")
        else:
            spaced.append(letter)
    return "".join(spaced).split()


def _clean(letter: str) -> str:
    """Return what replaces a character before punctuation is split off.

    This is a space for white space, nothing for control and private-use characters, and the character itself
    for others, with spaces around it if it is a CJK character.
    """
    category = unicodedata.category(letter)
    if letter in "\t\n\r" or category == "Zs":
        return " "
    if letter in "\0\ufffd" or category in ("Cc", "Cf", "Co"):
        return ""
    if any(first <= ord(letter) <= last for first, last in _CJK_RANGES):
        return f" {letter} "
    return letter


def _is_punctuation(letter: str) -> bool:
    """Return whether BERT counts a character as punctuation."""
    # BERT also counts as punctuation the ASCII signs that Unicode calls symbols, such as $ and +.
    if letter.isascii() and letter.isprintable() and letter != " ":
        return not letter.isalnum()
    return unicodedata.category(letter).startswith("P")
