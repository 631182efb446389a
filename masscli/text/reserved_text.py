"""Escape the text that SentencePiece reserves: names of special pieces, and two characters.

SentencePiece's trainer learns nothing from `<unk>`, `<s>` and other names of special pieces in text,
although the Penn Treebank and Gigaword have them. It skips every line with U+2585, and treats U+2581 as
a space. These are therefore replaced by Unicode noncharacters, which no text should contain, before
training and encoding, and restored in decoded text. For a model that has not learned these
noncharacters, text is left unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from masscli.text.markers import SENTENCEPIECE_SPACE

_OPEN = "\ufdd0"
"""Replaces the `<` of the name of a special piece."""
_SPACE_LETTER = "\ufdd1"
"""Replaces U+2581, which SentencePiece writes for a space."""
_UNKNOWN_LETTER = "\ufdd2"
"""Replaces U+2585, which SentencePiece's trainer writes for an unknown character."""
_NAME = re.compile(r"<(?=(?:unk|s|/s|pad|mask|cls|sep|spare[0-9]|lang:[^<>\s]+)>)")
_ESCAPES = {SENTENCEPIECE_SPACE: _SPACE_LETTER, "\u2585": _UNKNOWN_LETTER}
_TO_TEXT = str.maketrans(
    {_OPEN: "<", _SPACE_LETTER: SENTENCEPIECE_SPACE, _UNKNOWN_LETTER: "\u2585"}
)
_TO_PIECE = str.maketrans({_OPEN: "<", _UNKNOWN_LETTER: "\u2585"})


class ReservedText:
    """Replaces names and letters that SentencePiece reserves, if the model has learned the replacements."""

    def __init__(self, pieces: Sequence[str] | None = None) -> None:
        """Decide which reserved names and letters `escape` replaces: those whose replacements a model knows.

        `pieces` are those of the model. Without them, before a model is trained, all are replaced.
        """
        self._names = pieces is None or any(_OPEN in piece for piece in pieces)
        self._name = _NAME
        # A text may have had no other `<` than those of names; then the model knows only the escaped one.
        if pieces is not None and "<" not in pieces:
            self._name = re.compile("<")
        self._letters: dict[int, str] = {}
        for letter, escape in _ESCAPES.items():
            if pieces is None or any(escape in piece for piece in pieces):
                self._letters[ord(letter)] = escape

    @property
    def replacements(self) -> list[tuple[re.Pattern[str], str]]:
        """What `escape` replaces: patterns, each with the character that replaces its matches."""
        replaced = []
        if self._names:
            replaced.append((self._name, _OPEN))
        for letter, escape in self._letters.items():
            replaced.append((re.compile(chr(letter)), escape))
        return replaced

    def escape(self, text: str) -> str:
        """Return a text with reserved names and letters replaced, as a model is trained on and encodes it."""
        if self._names and "<" in text:
            text = self._name.sub(_OPEN, text)
        if self._letters:
            text = text.translate(self._letters)
        return text

    def restore(self, text: str) -> str:
        """Return decoded text with the reserved names and letters in place of what replaced them."""
        if self._names or self._letters:
            return text.translate(_TO_TEXT)
        return text


def readable_piece(piece: str) -> str:
    """Return a piece with the reserved names and U+2585 restored.

    U+2581 is not restored, since it marks the start of a word in pieces.
    """
    return piece.translate(_TO_PIECE)
