"""Find which characters of a text each of its pieces stands for.

Text and pieces are compared in a common form: normalized by NFKC and case-folded, without white space
and invisible characters. Mostly both are then equal, and the characters of every letter are known at
once. Otherwise (accents were removed, quotes were made straight, the vocabulary lacks characters) the
two are aligned by their longest common substrings (Ratcliff and Obershelp, as in `difflib`). The text
between two equal stretches is aligned letter by letter if it is equally long on both sides, and
otherwise as a whole. Characters that no piece has belong to the letter before them. Of a long word with few
different letters, such as a run of punctuation, only the equal beginning and end are aligned, and the rest as
a whole: its longest common substrings would take minutes (see MAX_EQUAL_PAIRS).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import accumulate, pairwise
from typing import NamedTuple

from masscli.text.markers import SENTENCEPIECE_SPACE
from masscli.text.tokenizer import Tokenizer

SHARED_TEXT_WORD = re.compile(r"[^ \t\r\n\u202f]+")
"""A word of a text that questions are asked about: it ends at a space, tab, line end or U+202F, as in the
readers of SQuAD."""
Span = tuple[int, int]
"""Begin and end of a range of characters; the end is exclusive."""
_IGNORED = (SENTENCEPIECE_SPACE, "\ufffd")
_IGNORED_CATEGORIES = ("Cc", "Cf", "Zs", "Zl", "Zp")
_UNKNOWN = "\0"
"""Takes the place of the text of an unknown piece. No text has this character, so it matches nothing."""
MAX_EQUAL_PAIRS = 100_000
"""The most pairs of equal letters, one of a word and one of its pieces, with which longest common substrings
are searched, since each search visits all pairs. About 1,000 letters of English have so many."""


class Letter(NamedTuple):
    """A letter in the form in which text and pieces are compared.

    It comes from the characters `begin` to `end` (exclusive) of a word.
    """

    letter: str
    begin: int
    end: int


def encode_with_offsets(
    tokenizer: Tokenizer, text: str, language: str
) -> tuple[list[int], list[int], list[int]]:
    """Return the token ids of a text, and the characters that each token covers, as lists of begins and ends.

    Token i covers `text[begins[i]:ends[i]]`, which is as short as possible. It is empty for a token without
    characters, such as SentencePiece's word marker alone. Neither begins nor ends ever decrease.
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
        for token_id, (begin, end) in zip(
            word_ids, char_offsets(word[0], piece_texts), strict=True
        ):
            ids.append(token_id)
            begins.append(word.start() + begin)
            ends.append(word.start() + end)
    return ids, begins, ends


def char_offsets(word: str, piece_texts: Sequence[str]) -> list[Span]:
    """Return for each piece of a word the range of the word's characters that it covers.

    `piece_texts` are the texts of the pieces in order, without word markers. A piece that stands for
    no character of the word, such as an empty one or an inserted mark, gets an empty range after the piece
    before it.
    """
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
    for owner, span in zip(
        owners, _align(list(_common_form(word)), letters), strict=True
    ):
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
    """Yield the letters of a word, normalized and case-folded, with the characters that each comes from.

    A letter and the combining accents after it are normalized together (NFKC). White space and invisible
    characters are left out.
    """
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
    """Return whether a character is left out when text and pieces are compared."""
    if character == _UNKNOWN:
        return False
    return (
        character in _IGNORED or unicodedata.category(character) in _IGNORED_CATEGORIES
    )


def _align(word: Sequence[Letter], letters: Sequence[str]) -> list[Span | None]:
    """Align the letters of a word with the letters of its pieces.

    The result has an entry for each letter of the pieces: the range of the word's characters that it stands
    for, or None if there are none.
    """
    word_letters = [letter.letter for letter in word]
    if word_letters == letters:
        return [(letter.begin, letter.end) for letter in word]
    # Punctuation is compared loosely, unless an unknown piece may stand for a mark.
    if _UNKNOWN not in letters:
        word_letters = list(map(_same_punctuation, word_letters))
        letters = list(map(_same_punctuation, letters))
    spans: list[Span | None] = []
    # Opcodes cover both sides from left to right, so every letter gets its span in order.
    for operation, start, stop, first, last in _opcodes(word_letters, letters):
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


def _opcodes(
    word: Sequence[str], letters: Sequence[str]
) -> Sequence[tuple[str, int, int, int, int]]:
    """Return how the letters of a word become those of its pieces, as `SequenceMatcher.get_opcodes` does."""
    counts = Counter(letters)
    if sum(counts[letter] for letter in word) <= MAX_EQUAL_PAIRS:
        # Without autojunk frequent letters count too, which difflib would ignore in long texts.
        return SequenceMatcher(None, word, letters, autojunk=False).get_opcodes()
    shorter = min(len(word), len(letters))
    begin = 0
    while begin < shorter and word[begin] == letters[begin]:
        begin += 1
    rest = 0
    while rest < shorter - begin and word[-1 - rest] == letters[-1 - rest]:
        rest += 1
    stop, last = len(word) - rest, len(letters) - rest
    middle = "delete" if last == begin < stop else "replace"
    return [
        ("equal", 0, begin, 0, begin),
        (middle, begin, stop, begin, last),
        ("equal", stop, len(word), last, len(letters)),
    ]


def _same_punctuation(letter: str) -> str:
    """Return a full stop for every punctuation mark and symbol, and other letters unchanged.

    So marks count as equal to each other, since Moses replaces some and swaps others.
    """
    if unicodedata.category(letter)[0] in "PS":
        return "."
    return letter
