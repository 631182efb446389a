"""Find the characters of a text that each of its pieces covers.

Text and pieces are compared in a common form: letters in their plain spelling (NFKC) and without case,
without blanks and invisible characters. Mostly both are then equal, and the characters of every letter are
known at once. Otherwise (accents were removed, quotes were made straight, the vocabulary lacks characters)
the two are aligned by their longest common stretches (Ratcliff and Obershelp, as in `difflib`). What lies
between two equal stretches belongs together, letter by letter if it is equally long on both sides.
Characters that no piece has belong to the letter before them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import accumulate, pairwise
from typing import NamedTuple

from masscli.text.markers import SENTENCEPIECE_SPACE
from masscli.text.tokenizer import Tokenizer

SHARED_TEXT_WORD = re.compile(r"[^ \t\r\n\u202f]+")
"""A word of a text that questions are asked about; words are split as the readers of SQuAD split them."""
Span = tuple[int, int]
"""The characters [begin, end)."""
_IGNORED = (SENTENCEPIECE_SPACE, "\ufffd")
_IGNORED_CATEGORIES = ("Cc", "Cf", "Zs", "Zl", "Zp")
_UNKNOWN = "\0"
"""Stands for an unknown piece. It is equal to no letter of a text."""


class Letter(NamedTuple):
    """A letter in the common form, with the characters [begin, end) that it comes from."""

    letter: str
    begin: int
    end: int


def encode_with_offsets(
    tokenizer: Tokenizer, text: str, language: str
) -> tuple[list[int], list[int], list[int]]:
    """Return the ids of a text's words, and the characters [begin, end) that each covers, as two lists.

    Spans are as short as possible. A piece without characters, such as SentencePiece's word mark alone, has
    an empty span. Neither begins nor ends ever decrease.
    """
    ids: list[int] = []
    begins: list[int] = []
    ends: list[int] = []
    # Words are encoded one by one, so that a piece never reaches into another word.
    words = list(SHARED_TEXT_WORD.finditer(text))
    ids_of_words = tokenizer.encode_words([word[0] for word in words], language)
    for word, word_ids in zip(words, ids_of_words, strict=True):
        piece_texts = tokenizer.piece_texts(word_ids)
        # The model's own text for an unknown piece could be taken for letters of the word.
        for i, token_id in enumerate(word_ids):
            if token_id == tokenizer.vocab.unk:
                piece_texts[i] = _UNKNOWN
        for token_id, (begin, end) in zip(word_ids, char_offsets(word[0], piece_texts), strict=True):
            ids.append(token_id)
            begins.append(word.start() + begin)
            ends.append(word.start() + end)
    return ids, begins, ends


def char_offsets(word: str, piece_texts: Sequence[str]) -> list[Span]:
    """Return the characters of a word that each of its pieces covers."""
    lengths = list(map(len, piece_texts))
    # The usual case, without any work for single letters: the pieces spell the word, apart from case.
    if sum(lengths) == len(word) and "".join(piece_texts).lower() == word.lower():
        return list(pairwise(accumulate(lengths, initial=0)))

    # Letters of all pieces in a row, and for each letter the number of its piece.
    letters: list[str] = []
    owners: list[int] = []
    for number, piece in enumerate(piece_texts):
        for letter in _common_form(piece):
            letters.append(letter.letter)
            owners.append(number)
    spans: dict[int, Span] = {}
    for owner, span in zip(owners, _align(list(_common_form(word)), letters), strict=True):
        if span is not None:
            # A piece stands for everything from its first letter to its last.
            begin, end = spans.get(owner, span)
            spans[owner] = min(begin, span[0]), max(end, span[1])

    # A piece without letters stands for nothing, after the piece before it.
    offsets: list[Span] = []
    position = 0
    for number in range(len(piece_texts)):
        offsets.append(spans.get(number, (position, position)))
        position = offsets[-1][1]
    return offsets


def _common_form(word: str) -> Iterator[Letter]:
    """Yield the letters of a word in the common form; a letter and the accents after it go together."""
    begin = 0
    while begin < len(word):
        # Composing a letter with its accents makes `e` and a combining accent equal to `é`.
        end = begin + 1
        while end < len(word) and unicodedata.combining(word[end]):
            end += 1
        if not _is_ignored(word[begin]):
            for letter in unicodedata.normalize("NFKC", word[begin:end]).casefold():
                if not letter.isspace():
                    yield Letter(letter, begin, end)
        begin = end


def _is_ignored(character: str) -> bool:
    if character == _UNKNOWN:
        return False
    return character in _IGNORED or unicodedata.category(character) in _IGNORED_CATEGORIES


def _align(word: Sequence[Letter], letters: Sequence[str]) -> list[Span | None]:
    """Return for each letter of the pieces the characters of the word that it covers, or None."""
    word_letters = [letter.letter for letter in word]
    if word_letters == letters:
        return [(letter.begin, letter.end) for letter in word]
    # Punctuation is compared loosely, unless an unknown piece may stand for a mark.
    if _UNKNOWN not in letters:
        word_letters = list(map(_same_punctuation, word_letters))
        letters = list(map(_same_punctuation, letters))
    # Without autojunk frequent letters count too, which difflib would ignore in long texts.
    matcher = SequenceMatcher(None, word_letters, letters, autojunk=False)
    spans: list[Span | None] = []
    # Opcodes cover both sides from left to right, so every letter gets its span in order.
    for operation, start, stop, first, last in matcher.get_opcodes():
        stretch = word[start:stop]
        if operation == "delete":
            # No piece has these letters: they belong to the letter before.
            if spans and spans[-1] is not None:
                spans[-1] = spans[-1][0], stretch[-1].end
        # Equally long on both sides: the letters correspond one by one. Otherwise all share the whole
        # stretch.
        elif len(stretch) == last - first:
            spans += [(letter.begin, letter.end) for letter in stretch]
        elif stretch:
            spans += [(stretch[0].begin, stretch[-1].end)] * (last - first)
        else:
            # Letters that the word does not have, such as those of an inserted mark.
            spans += [None] * (last - first)
    return spans


def _same_punctuation(letter: str) -> str:
    """Return the same character for all punctuation marks, since Moses replaces some and swaps others."""
    if unicodedata.category(letter)[0] in "PS":
        return "."
    return letter
