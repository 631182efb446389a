"""Where words begin: what whole-word and n-gram masking need to know of a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from masscli.text.bpe_codes import BPE_CONTINUATION
from masscli.text.tokenizer import WORD_START, WORDPIECE_CONTINUATION
from masscli.text.vocabulary import Vocabulary

PUNCTUATION = frozenset('!"#$%&()*+,-./:;?@[\\]^_`{|}~')
"""What ALBERT's released code takes for it; the apostrophe, <, = and > are as good as foreign letters there."""


class Pieces(Protocol):
    """What a tokenizer tells of its pieces."""

    @property
    def vocab(self) -> Vocabulary: ...
    @property
    def subword_marker(self) -> str: ...
    def ids_to_pieces(self, ids: list[int]) -> list[str]: ...


@dataclass(frozen=True)
class WordStarts:
    """Which tokens of a text begin a word: `begins` (V,) by id, unless the one before them `goes_on` (V,), as BPE codes mark it."""

    begins: NDArray[np.bool_]
    goes_on: NDArray[np.bool_]

    def __call__(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(L,) for ids (L,)."""
        found: NDArray[np.bool_] = self.begins[ids]
        found[1:] &= ~self.goes_on[ids[:-1]]
        return found


def word_starts(tokenizer: Pieces, as_albert: bool = False) -> WordStarts:
    """Words begin with the mark of SentencePiece, with a special symbol, or with a piece without a letter or digit (punctuation); of
    WordPiece, with whatever has no mark.

    `as_albert`: by the rule of ALBERT's released code (spec: objectives.md 3.3); of WordPiece, with whatever has no mark, and nothing else.
    """
    vocab = tokenizer.vocab
    starts = np.ones(vocab.size, np.bool_)
    ordinary = [i for i in range(vocab.size) if i not in vocab.special_ids]
    pieces = tokenizer.ids_to_pieces(ordinary)
    goes_on = np.zeros(vocab.size, np.bool_)
    if tokenizer.subword_marker == BPE_CONTINUATION:
        goes_on[ordinary] = [piece.endswith(BPE_CONTINUATION) for piece in pieces]
    begins = [
        piece.startswith(WORD_START)
        if tokenizer.subword_marker == WORD_START
        else not piece.startswith(WORDPIECE_CONTINUATION)
        for piece in pieces
    ]
    if (
        not as_albert and tokenizer.subword_marker != WORDPIECE_CONTINUATION
    ):  # WordPiece cuts at every sign of punctuation, and marks what goes on
        begins = [
            marked or not any(c.isalnum() for c in piece)
            for marked, piece in zip(begins, pieces, strict=True)
        ]
    elif tokenizer.subword_marker == WORD_START:
        begins = [marked or _begins_in_albert(piece) for marked, piece in zip(begins, pieces, strict=True)]
    starts[ordinary] = begins
    return WordStarts(starts, goes_on)


def _begins_in_albert(piece: str) -> bool:
    """Whether a piece without the mark is taken for the beginning of a word: a sign of punctuation, and whatever has more in it than ASCII
    letters and PUNCTUATION."""
    return piece in PUNCTUATION or not all(c in PUNCTUATION or (c.isascii() and c.isalpha()) for c in piece)
