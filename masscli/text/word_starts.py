"""Find the tokens that begin a word, for masking whole words and n-grams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from masscli.text.byte_level_bpe import piece_text
from masscli.text.markers import (
    BPE_CONTINUATION,
    BYTE_LEVEL_SPACE,
    SENTENCEPIECE_SPACE,
    WORDPIECE_CONTINUATION,
)
from masscli.text.vocabulary import Vocabulary

ALBERT_PUNCTUATION = frozenset('!"#$%&()*+,-./:;?@[\\]^_`{|}~')
"""The characters that ALBERT's released code treats as punctuation. It lacks the apostrophe, <, = and >,
which that code treats like letters that are not ASCII."""


class HasPieces(Protocol):
    """The parts of a tokenizer that word starts depend on: vocabulary, pieces and marker of words."""

    @property
    def vocab(self) -> Vocabulary: ...
    @property
    def subword_marker(self) -> str: ...
    def ids_to_pieces(self, ids: list[int]) -> list[str]: ...


@dataclass(frozen=True)
class WordStarts:
    """A callable that tells which tokens of a text begin a word.

    `begins` and `continues` (V,) are indexed by token id. A token begins a word if `begins` is true for its
    id, unless `continues` is true for the id of the token before it (in BPE codes, a piece that ends with
    `@@`).
    """

    begins: NDArray[np.bool_]
    continues: NDArray[np.bool_]

    def __call__(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return a boolean array (L,) that is true where a token of `ids` (L,) begins a word."""
        starts: NDArray[np.bool_] = self.begins[ids]
        # The first token cannot continue an earlier one.
        starts[1:] &= ~self.continues[ids[:-1]]
        return starts


def word_starts(tokenizer: HasPieces, as_albert: bool = False) -> WordStarts:
    """Return a callable that finds the word starts in token ids of this tokenizer.

    Special symbols, punctuation, and pieces that are marked as starts of words begin words; in BPE codes,
    every piece does unless the piece before it ends with `@@`. With `as_albert`, pieces of SentencePiece are
    treated as in ALBERT's released code (Lan et al. 2020): one without a marker begins a word if it is a
    single punctuation mark, or has a character that is neither an ASCII letter nor in ALBERT_PUNCTUATION.
    """
    vocab = tokenizer.vocab
    ids = vocab.ordinary_ids.tolist()
    pieces = tokenizer.ids_to_pieces(ids)
    marker = tokenizer.subword_marker
    # Special ids begin words, so the default is true.
    begins = np.ones(vocab.size, np.bool_)
    begins[ids] = [_begins_word(piece, marker, as_albert) for piece in pieces]
    continues = np.zeros(vocab.size, np.bool_)
    if marker == BPE_CONTINUATION:
        continues[ids] = [piece.endswith(BPE_CONTINUATION) for piece in pieces]
    return WordStarts(begins, continues)


def _begins_word(piece: str, marker: str, as_albert: bool) -> bool:
    """Return whether a piece begins a word, judged by itself, in a vocabulary that uses this marker.

    Punctuation begins a word even without a marker, and in BPE codes (`@@`) every piece does, since only the
    piece before it tells. With `as_albert`, pieces of SentencePiece without a marker are judged as in
    ALBERT's code.
    """
    # WordPiece splits words at every punctuation mark and marks all continuation pieces, so its marks
    # say everything.
    if marker == WORDPIECE_CONTINUATION:
        return not piece.startswith(WORDPIECE_CONTINUATION)
    # A piece of BPE codes has no mark at its start: it begins a word unless the previous piece is
    # marked as continued.
    if marker == BPE_CONTINUATION:
        return True
    if marker == BYTE_LEVEL_SPACE:
        return piece.startswith(BYTE_LEVEL_SPACE) or _is_punctuation(piece_text(piece))
    if piece.startswith(SENTENCEPIECE_SPACE):
        return True
    if as_albert:
        return _is_sign_in_albert(piece)
    return _is_punctuation(piece)


def _is_punctuation(text: str) -> bool:
    """Return whether a text has no letters and digits, and no parts of characters (U+FFFD)."""
    return not any(letter.isalnum() or letter == "\ufffd" for letter in text)


def _is_sign_in_albert(piece: str) -> bool:
    """Return whether ALBERT's released code lets a piece without SentencePiece's space marker begin a word.

    It does if the piece is a punctuation mark, or has a character that is neither an ASCII letter nor one of
    ALBERT_PUNCTUATION.
    """
    if piece in ALBERT_PUNCTUATION:
        return True
    return not all(
        letter in ALBERT_PUNCTUATION or (letter.isascii() and letter.isalpha())
        for letter in piece
    )
