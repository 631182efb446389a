"""The spelling of pieces: where their marker is, how two are joined, and how one is split.

The marker of a vocabulary shows where words begin or continue (see markers.py): `▁maison` begins a word
in SentencePiece, `mai@@` is continued by the next piece in BPE codes, and `##son` continues a word in
WordPiece.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from masscli.text.byte_level_bpe import letters_to_bytes
from masscli.text.markers import (
    BPE_CONTINUATION,
    BYTE_LEVEL_SPACE,
    WORDPIECE_CONTINUATION,
    remove_marker,
)


@dataclass(frozen=True, slots=True)
class PieceSpelling:
    """Joins and splits the pieces of a vocabulary whose marker is `marker`, a constant of markers.py."""

    marker: str

    def joined(self, first: str, second: str) -> str | None:
        """Return the piece that two adjacent pieces form, or None if they may not be joined.

        Only pieces of one word may be joined, and only letters and combining accents: a piece such as
        `word.` would be frequent, but meaningless.
        """
        piece = self._concatenated(first, second)
        if piece is None or not self._is_of_letters(piece):
            return None
        return piece

    def text(self, piece: str) -> str:
        """Return a piece without its marker."""
        return remove_marker(piece, self.marker)

    def begins_word(self, first: str, second: str) -> bool:
        """Return whether a new word begins between two neighbors, of which `second` is the later one."""
        return self._concatenated(first, second) is None

    def _concatenated(self, first: str, second: str) -> str | None:
        """Return both pieces in one, or None if the second one begins a new word."""
        if self.marker == BPE_CONTINUATION:
            if not first.endswith(BPE_CONTINUATION):
                return None
            return first.removesuffix(BPE_CONTINUATION) + second
        if self.marker == WORDPIECE_CONTINUATION:
            if not second.startswith(WORDPIECE_CONTINUATION):
                return None
            return first + second.removeprefix(WORDPIECE_CONTINUATION)
        # A SentencePiece model of another program may have pieces that reach into the next word.
        if self.marker in first[1:] or self.marker in second:
            return None
        return first + second

    def _is_of_letters(self, piece: str) -> bool:
        """Return whether the text of a piece has only letters, combining marks, and parts of characters."""
        if self.marker == BYTE_LEVEL_SPACE:
            # A part of a character, of which more bytes follow, is left out.
            text = (
                letters_to_bytes(piece)
                .decode("utf-8", errors="ignore")
                .removeprefix(" ")
            )
        else:
            text = self.text(piece)
        return all(unicodedata.category(character)[0] in "LM" for character in text)

    def without_marker(self, piece: str) -> str:
        """Return the text of a piece without a marker at its end or start that is not itself text.

        SentencePiece's marker is a letter that a piece may consist of, and stays.
        """
        if self.marker in (BPE_CONTINUATION, WORDPIECE_CONTINUATION):
            return remove_marker(piece, self.marker)
        return piece

    def part(self, piece: str, text: str, start: int, end: int) -> str:
        """Return `text[start:end]`, a part of the text of `piece`, with the marker that it needs there."""
        part = text[start:end]
        if self.marker == BPE_CONTINUATION and (
            end < len(text) or piece.endswith(BPE_CONTINUATION)
        ):
            return part + BPE_CONTINUATION
        if self.marker == WORDPIECE_CONTINUATION and (
            start or piece.startswith(WORDPIECE_CONTINUATION)
        ):
            return WORDPIECE_CONTINUATION + part
        return part


class PieceSplitter:
    """Splits pieces that are not in `known` into those that are; all are spelled as `spelling` says."""

    def __init__(self, spelling: PieceSpelling, known: Collection[str]) -> None:
        self.spelling = spelling
        self.known = known
        # Text without spaces may be a single unknown piece of thousands of characters.
        self._longest = max(map(len, known), default=1)

    def split(self, piece: str) -> list[str]:
        """Split a piece, from left to right, into the longest pieces that are known.

        A character that is in no known piece becomes a piece of its own. The results are spelled with the
        marker.
        """
        text = self.spelling.without_marker(piece)
        pieces = []
        start = 0
        while start < len(text):
            end = min(len(text), start + self._longest)
            part = self.spelling.part(piece, text, start, end)
            while end > start + 1 and part not in self.known:
                end -= 1
                part = self.spelling.part(piece, text, start, end)
            pieces.append(part)
            start = end
        return pieces
