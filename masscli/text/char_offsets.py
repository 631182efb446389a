"""Where the pieces of a text stand in it, character by character, although the tokenizer has normalised it.

Text and pieces are compared in a common form: letters in their plain spelling (NFKC) and without case; blanks and what cannot be seen are
left out.  Where both spell the same, as nearly always, the place of every letter is known at once.  Otherwise (accents that were taken off,
quotes that were made straight, characters that the vocabulary lacks) they are laid side by side (the longest common stretches of Ratcliff
and Obershelp, as in `difflib`): what stands between two stretches that are equal belongs together, letter by letter where it is as long on
both sides.  What no piece has stays with the letter before it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import accumulate, pairwise
from typing import NamedTuple

from masscli.text.tokenizer import WORD_START, Tokenizer

SHARED_TEXT_WORD = re.compile(r"[^ \t\r\n\u202f]+")
"""Words of a shared text, as SQuAD's readers cut it."""
UNSEEN = (WORD_START, "\ufffd")
"""Taken for blanks, besides those of Unicode: SentencePiece's, and what WordPiece leaves out."""
UNKNOWN = "\0"
"""Stands for an unknown piece, and is like no letter."""
Place = tuple[int, int]
"""Characters [begin, end)."""


class Letter(NamedTuple):
    """A letter in the common form, and where it stands."""

    letter: str
    begin: int
    end: int


def encode_with_offsets(
    tokenizer: Tokenizer, text: str, language: str
) -> tuple[list[int], list[int], list[int]]:
    """The pieces of a text's words, and the characters [begin, end) of the text that each stands for: the fewest that cover it.

    A piece that stands for nothing (a mark of SentencePiece alone) has an empty place.  Begins never fall, and neither do ends.
    """
    ids: list[int] = []
    begins: list[int] = []
    ends: list[int] = []
    words = list(SHARED_TEXT_WORD.finditer(text))
    for word, pieces in zip(words, tokenizer.encode_lines([w[0] for w in words], language), strict=True):
        surfaces = tokenizer.piece_texts(pieces)
        surfaces = [
            UNKNOWN if piece == tokenizer.vocab.unk else each
            for piece, each in zip(pieces, surfaces, strict=True)
        ]
        for piece, (begin, end) in zip(pieces, char_offsets(word[0], surfaces), strict=True):
            ids.append(piece)
            begins.append(word.start() + begin)
            ends.append(word.start() + end)
    return ids, begins, ends


def char_offsets(word: str, surfaces: Sequence[str]) -> list[Place]:
    """The place of each piece in a word."""
    if "".join(surfaces).lower() == word.lower() and sum(map(len, surfaces)) == len(word):
        return list(pairwise(accumulate(map(len, surfaces), initial=0)))
    theirs = [(letter.letter, n) for n, surface in enumerate(surfaces) for letter in _letters(surface)]
    found: list[Place | None] = [None] * len(surfaces)
    for (_, n), each in zip(theirs, _aligned(_letters(word), [letter for letter, _ in theirs]), strict=True):
        if each is not None:
            known = found[n] or each
            found[n] = min(known[0], each[0]), max(known[1], each[1])
    kept: list[Place] = []
    for each in found:
        after = kept[-1][1] if kept else 0
        kept.append(each or (after, after))
    return kept


def _letters(word: str) -> list[Letter]:
    """A word in the common form.  A letter and the accents behind it go together."""
    found, at = list[Letter](), 0
    while at < len(word):
        stop = next((n for n in range(at + 1, len(word)) if not unicodedata.combining(word[n])), len(word))
        if word[at] == UNKNOWN or not (
            word[at] in UNSEEN or unicodedata.category(word[at]) in ("Cc", "Cf", "Zs", "Zl", "Zp")
        ):
            plain = unicodedata.normalize("NFKC", word[at:stop]).casefold()
            found += [Letter(letter, at, stop) for letter in plain if not letter.isspace()]
        at = stop
    return found


def _aligned(ours: Sequence[Letter], theirs: Sequence[str]) -> list[Place | None]:
    """For each letter of the pieces the place that it stands for, None for one that stands for nothing."""
    letters = [letter.letter for letter in ours]
    if letters == theirs:
        return [(letter.begin, letter.end) for letter in ours]
    found: list[Place | None] = []
    alike = str if UNKNOWN in theirs else _alike
    changes = SequenceMatcher(None, list(map(alike, letters)), list(map(alike, theirs)), autojunk=False)
    for what, start, stop, first, last in changes.get_opcodes():
        if what == "delete":
            if found and (before := found[-1]):
                found[-1] = before[0], ours[stop - 1].end
        elif stop - start == last - first:
            found += [(letter.begin, letter.end) for letter in ours[start:stop]]
        else:
            found += [(ours[start].begin, ours[stop - 1].end) if stop > start else None] * (last - first)
    return found


def _alike(letter: str) -> str:
    """All marks of punctuation are alike: Moses makes others of them, and turns them round (`.”` for `”.`)."""
    return "." if unicodedata.category(letter)[0] in "PS" else letter
