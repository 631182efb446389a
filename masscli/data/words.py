"""Where words begin: what whole-word and n-gram masking need to know of a vocabulary."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from masscli.text.vocabulary import Vocabulary

WORD, REST = "\u2581", "##"
"""SentencePiece's mark of a word's first piece, WordPiece's of all the others."""


class Pieces(Protocol):
    """What a tokenizer tells of its pieces."""

    @property
    def vocab(self) -> Vocabulary: ...
    def pieces(self, ids: list[int]) -> list[str]: ...


def word_starts(tokenizer: Pieces) -> NDArray[np.bool_]:
    """(V,) which ids begin a word: those with the mark, special symbols, and pieces without a letter or digit (punctuation)."""
    vocab = tokenizer.vocab
    starts = np.ones(vocab.size, np.bool_)
    ordinary = [i for i in range(vocab.size) if i not in vocab.specials]
    pieces = tokenizer.pieces(ordinary)
    marked = any(piece.startswith(WORD) for piece in pieces)
    begins = [piece.startswith(WORD) if marked else not piece.startswith(REST) for piece in pieces]
    spoken = [any(c.isalnum() for c in piece) for piece in pieces]
    starts[ordinary] = np.array(begins, np.bool_) | ~np.array(spoken, np.bool_)
    return starts
