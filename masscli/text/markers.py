"""The marks that show where a word begins or goes on, and the sign for unknown text."""

from __future__ import annotations

SENTENCEPIECE_SPACE = "\u2581"
"""SentencePiece writes this letter for a space, so the first piece of a word begins with it."""
WORDPIECE_CONTINUATION = "##"
"""In BERT's WordPiece, all pieces of a word but the first begin with this."""
BPE_CONTINUATION = "@@"
"""In subword-nmt and fastBPE, all pieces of a word but the last end with this."""
UNKNOWN_TEXT = "\u2047"
"""What an unknown piece becomes in decoded text; the sign that SentencePiece uses."""
