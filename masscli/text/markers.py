"""The markers by which pieces show where a word begins or goes on, and the text of an unknown piece."""

from __future__ import annotations

SENTENCEPIECE_SPACE = "\u2581"
"""SentencePiece writes this letter for a space, so the first piece of a word begins with it."""
WORDPIECE_CONTINUATION = "##"
"""In BERT's WordPiece, all pieces of a word but the first begin with this."""
BPE_CONTINUATION = "@@"
"""In subword-nmt and fastBPE, all pieces of a word but the last end with this."""
BYTE_LEVEL_SPACE = "\u0120"
"""Byte-level BPE writes this letter for a space, so the first piece of a word begins with it."""
UNKNOWN_TEXT = "\u2047"
"""What an unknown piece becomes in decoded text; the sign that SentencePiece uses."""


def remove_marker(piece: str, marker: str) -> str:
    """Return the text of a piece without its marker; `marker` is the one that the vocabulary uses."""
    if marker == WORDPIECE_CONTINUATION:
        return piece.removeprefix(WORDPIECE_CONTINUATION)
    if marker == BPE_CONTINUATION:
        return piece.removesuffix(BPE_CONTINUATION)
    return piece.replace(SENTENCEPIECE_SPACE, "")
