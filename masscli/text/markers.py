"""The markers with which pieces show where a word begins or continues, and the text of an unknown piece."""

from __future__ import annotations

SENTENCEPIECE_SPACE = "\u2581"
"""The letter that SentencePiece writes for a space, so that the first piece of a word begins with it."""
WORDPIECE_CONTINUATION = "##"
"""In BERT's WordPiece, all pieces of a word but the first begin with this marker."""
BPE_CONTINUATION = "@@"
"""In subword-nmt and fastBPE, all pieces of a word but the last end with this marker."""
BYTE_LEVEL_SPACE = "\u0120"
"""The letter that byte-level BPE writes for a space, so that the first piece of a word begins with it."""
UNKNOWN_TEXT = "\u2047"
"""The text that an unknown piece is decoded to: the sign ⁇, as in SentencePiece."""


def remove_marker(piece: str, marker: str) -> str:
    """Return the text of a piece without the marker that its vocabulary uses.

    `marker` is WORDPIECE_CONTINUATION, BPE_CONTINUATION or SENTENCEPIECE_SPACE. Of SentencePiece's marker,
    every occurrence is removed.
    """
    if marker == WORDPIECE_CONTINUATION:
        return piece.removeprefix(WORDPIECE_CONTINUATION)
    if marker == BPE_CONTINUATION:
        return piece.removesuffix(BPE_CONTINUATION)
    return piece.replace(SENTENCEPIECE_SPACE, "")
