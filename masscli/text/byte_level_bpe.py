"""Byte-level BPE, as GPT-2 introduced it (Radford et al. 2019) and RoBERTa, BART and others use it.

A line is first split into words: an English contraction such as `'s`, or a run of letters, of digits or of
other signs, with at most one space before a run; remaining white space is a word of its own. Each UTF-8 byte
of a word is then written as one visible letter (`Ġ` is the space), and pairs of neighbors are merged, always
the pair whose merge was learned first, until no pair has a merge. If all 256 bytes are pieces, as usual, no
text is unknown.

The published files are vocab.json, the ids of the pieces, and merges.txt, one merge per line. masscli stores
both in one file: a header line, then JSON. Text is never encoded into special pieces: a `<mask>` in a line is
split into bytes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from masscli.text.bpe_merging import last_ranks, merge_pairs
from masscli.text.markers import UNKNOWN_TEXT
from masscli.text.packed_model import PackedModel
from masscli.text.packed_vocabulary import (
    PackedVocabulary,
    damaged,
    read_merges,
    unpack,
)
from masscli.text.subword_model import BadModelError, pieces_of
from masscli.text.word_cache import remember

HEADER = b"masscli byte-level-bpe\n"
_WORD = re.compile(
    r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+",
    re.ASCII,
)
"""Matches a word of a line in which `_AsciiClasses` has replaced all characters that are not ASCII."""


class _AsciiClasses(dict[int, str]):
    """A table for `str.translate` that leaves ASCII alone and replaces other characters by their class.

    Letters become `a`, numbers `0`, white space a tabulator, and all others a full stop, so that Python's
    `re`, which has no classes of Unicode such as `\\p{L}`, splits a line at the same places.
    """

    def __missing__(self, code: int) -> str:
        """Return the replacement of the character with this code point, and remember it."""
        character = chr(code)
        if not character.isascii():
            category = unicodedata.category(character)[0]
            if category == "L":
                character = "a"
            elif category == "N":
                character = "0"
            elif character.isspace():
                character = "\t"
            else:
                character = "."
        self[code] = character
        return character


_ASCII_CLASSES = _AsciiClasses()


def _letters_of_bytes() -> list[str]:
    """Return a list of 256 letters: the visible letter that stands for each byte.

    A byte whose character in Latin-1 is visible stands for itself; the others get letters from U+0100 on.
    """
    letters = []
    hidden = 0
    for byte in range(256):
        # 0xAD is the soft hyphen, which is not visible.
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE:
            letters.append(chr(byte))
        else:
            letters.append(chr(0x100 + hidden))
            hidden += 1
    return letters


BYTE_LETTERS = _letters_of_bytes()
"""The visible letter by which pieces write each byte."""
_BYTES = {letter: byte for byte, letter in enumerate(BYTE_LETTERS)}


def pack_byte_level_bpe(
    pieces: Sequence[str],
    merges: Sequence[tuple[str, str]],
    special_ids: Mapping[str, int],
    *,
    unused_ids: Sequence[int] = (),
    add_prefix_space: bool = False,
) -> bytes:
    """Return the bytes of a file that holds a byte-level BPE, for ByteLevelModel to read.

    `pieces` are in the order of their ids, each once, and `merges` are pairs of pieces, the first learned
    first. `special_ids` maps masscli's names of special pieces to ids. `unused_ids` are the ids of pieces
    that no text is encoded into. With `add_prefix_space` a line is encoded as if it began with a space.
    """
    rest = {
        "merges": [list(pair) for pair in merges],
        "add_prefix_space": add_prefix_space,
    }
    return PackedVocabulary(pieces, special_ids, unused_ids, rest).pack(HEADER)


class ByteLevelModel(PackedModel):
    """A subword model that is a byte-level BPE; implements SubwordModel."""

    def __init__(self, data: bytes) -> None:
        """Load the bytes that `pack_byte_level_bpe` returned.

        Raises BadModelError if they are damaged, or if a byte is not a piece and there is no unknown piece.
        """
        vocabulary = unpack(data, HEADER)
        super().__init__(vocabulary)
        add_prefix_space = vocabulary.rest.get("add_prefix_space")
        if not isinstance(add_prefix_space, bool):
            raise damaged(HEADER)
        self.add_prefix_space = add_prefix_space
        self.merges = read_merges(vocabulary.rest, HEADER)
        self._ranks = last_ranks(self.merges)
        self._unknown = self._special_ids.get("<unk>", -1)
        self._cache: dict[str, list[int]] = {}
        self._check_bytes()

    def _check_bytes(self) -> None:
        """Raise BadModelError if a byte is not a piece and there is no unknown piece for it."""
        if self.missing_bytes and self._unknown < 0:
            raise BadModelError(
                f"lacks {self.missing_bytes} of the 256 bytes, and has no unknown piece",
                "text with these bytes would be lost; train it with all bytes as its first pieces",
            )

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return a list of token ids for each line, without start and end symbols."""
        encoded = []
        for line in lines:
            ids: list[int] = []
            for word in self._words(line):
                ids += self._encode_word(word)
            encoded.append(ids)
        return encoded

    def encode_as_pieces(self, line: str) -> list[str]:
        """Return the pieces of a line; a byte that the vocabulary lacks is a piece of its own."""
        pieces: list[str] = []
        for word in self._words(line):
            pieces += self._split_word(word)
        return pieces

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that the ids stand for.

        Unknown pieces, and ids beyond the vocabulary's end, are written as UNKNOWN_TEXT, and broken UTF-8 as
        U+FFFD. If the model adds a space before lines, it is removed.
        """
        # A character may be spread over several pieces, so bytes are joined before they are decoded.
        return self.pieces_to_text([self._piece_letters(token_id) for token_id in ids])

    def pieces_to_text(self, pieces: Sequence[str]) -> str:
        """Return the text that pieces stand for, without the space that the model may add before lines."""
        decoded = _to_text("".join(pieces))
        if self.add_prefix_space:
            return decoded.removeprefix(" ")
        return decoded

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id, as in vocab.json; an id beyond its end is written like `<32000>`."""
        return pieces_of(ids, self._pieces)

    @property
    def missing_bytes(self) -> int:
        """The number of byte values (of 256) that are not a piece, so that text with them is unknown."""
        return sum(letter not in self._ids for letter in BYTE_LETTERS)

    def _words(self, line: str) -> Iterator[str]:
        """Yield the words of a line, the first one with a space before it if the model adds one."""
        # As in Hugging Face's tokenizers, no second space is added, and none to an empty line.
        if self.add_prefix_space and line and not line.startswith(" "):
            line = f" {line}"
        yield from split_words(line)

    def _split_word(self, word: str) -> list[str]:
        """Return the pieces of a word: its bytes, spelled as letters, after all merges."""
        letters = [BYTE_LETTERS[byte] for byte in word.encode()]
        return merge_pairs(letters, self._ranks)

    def _piece_letters(self, token_id: int) -> str:
        """Return the piece of an id, spelled in letters that stand for bytes.

        An unknown piece, or an id beyond the vocabulary's end, becomes UNKNOWN_TEXT in this spelling.
        """
        if token_id == self._unknown or token_id >= len(self._pieces):
            return "".join(BYTE_LETTERS[byte] for byte in UNKNOWN_TEXT.encode())
        return self._pieces[token_id]

    def _encode_word(self, word: str) -> list[int]:
        """Return the token ids of a word, from the cache if it has the word."""
        ids = self._cache.get(word)
        if ids is None:
            ids = [
                self._ids.get(piece, self._unknown) for piece in self._split_word(word)
            ]
            remember(self._cache, word, ids)
        return ids


def split_words(line: str) -> Iterator[str]:
    """Split a line into words as GPT-2's regular expression does, and yield them with their spaces.

    Joined, the words are the line again.
    """
    # Every character is replaced by one, so places in the replaced line are places in the line.
    for match in _WORD.finditer(line.translate(_ASCII_CLASSES)):
        yield line[match.start() : match.end()]


def piece_text(piece: str) -> str:
    """Return the text that a piece of byte-level BPE stands for, without the space before a word.

    Bytes that are only a part of a character become U+FFFD. A special piece such as `<mask>` is returned as
    it is.
    """
    return _to_text(piece).removeprefix(" ")


def letters_to_bytes(letters: str) -> bytes:
    """Return the bytes that the letters of a piece stand for; letters that stand for none are kept."""
    data = b""
    for letter in letters:
        if letter in _BYTES:
            data += bytes([_BYTES[letter]])
        else:
            data += letter.encode()
    return data


def _to_text(letters: str) -> str:
    """Return the text whose bytes the letters of a piece stand for, with U+FFFD for broken UTF-8."""
    return letters_to_bytes(letters).decode("utf-8", errors="replace")
