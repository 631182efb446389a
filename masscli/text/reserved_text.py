"""Let text hold what SentencePiece keeps for itself: names of special pieces, and two letters.

SentencePiece's trainer learns nothing from `<unk>`, `<s>` and the like where they stand in text, as in the
Penn Treebank and Gigaword. It leaves out every line with U+2585, and takes U+2581 for a space. So text is
learned and encoded with noncharacters of Unicode in their place, which no text should hold, and decoded with
the originals. A model that has learned none of these noncharacters encodes text as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from masscli.text.markers import SENTENCEPIECE_SPACE

_OPEN = "\ufdd0"
"""Stands for the `<` of the name of a special piece."""
_SPACE_LETTER = "\ufdd1"
"""Stands for U+2581, by which SentencePiece writes a space."""
_UNKNOWN_LETTER = "\ufdd2"
"""Stands for U+2585, by which SentencePiece's trainer writes an unknown character."""
_NAME = re.compile(r"<(?=(?:unk|s|/s|pad|mask|cls|sep|spare[0-9]|lang:[^<>\s]+)>)")
_ESCAPES = {SENTENCEPIECE_SPACE: _SPACE_LETTER, "\u2585": _UNKNOWN_LETTER}
_TO_TEXT = str.maketrans({_OPEN: "<", _SPACE_LETTER: SENTENCEPIECE_SPACE, _UNKNOWN_LETTER: "\u2585"})
_TO_PIECE = str.maketrans({_OPEN: "<", _UNKNOWN_LETTER: "\u2585"})


class ReservedText:
    """Escapes those of the reserved names and letters that a model has learned as text."""

    def __init__(self, pieces: Sequence[str] | None = None) -> None:
        """Find out what a model has learned from its `pieces`; without pieces, everything is escaped."""
        self._names = pieces is None or any(_OPEN in piece for piece in pieces)
        self._name = _NAME
        # A text may have had no other `<` than those of names; then the model knows only the escaped one.
        if pieces is not None and "<" not in pieces:
            self._name = re.compile("<")
        self._letters: dict[int, str] = {}
        for letter, escape in _ESCAPES.items():
            if pieces is None or any(escape in piece for piece in pieces):
                self._letters[ord(letter)] = escape

    def escape(self, text: str) -> str:
        """Return the text in the form in which it is learned and encoded."""
        if self._names and "<" in text:
            text = self._name.sub(_OPEN, text)
        if self._letters:
            text = text.translate(self._letters)
        return text

    def restore(self, text: str) -> str:
        """Return decoded text with the originals."""
        if self._names or self._letters:
            return text.translate(_TO_TEXT)
        return text


def readable_piece(piece: str) -> str:
    """Return a piece with the originals, but for U+2581, which marks the start of a word in pieces."""
    return piece.translate(_TO_PIECE)
