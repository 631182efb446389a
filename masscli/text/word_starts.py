"""Find the tokens that begin a word, for masking of whole words and of n-grams."""

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
"""What ALBERT's released code takes for punctuation.

It treats the apostrophe, <, = and > like foreign letters.
"""


class HasPieces(Protocol):
    """The interface of a tokenizer that word starts need: its pieces."""

    @property
    def vocab(self) -> Vocabulary: ...
    @property
    def subword_marker(self) -> str: ...
    def ids_to_pieces(self, ids: list[int]) -> list[str]: ...


@dataclass(frozen=True)
class WordStarts:
    """A rule that tells which tokens of a text begin a word.

    A token begins a word if `begins` (V,) is true for its id, unless `continues` (V,) is true for the token
    before it: BPE codes mark pieces after which the word goes on.
    """

    begins: NDArray[np.bool_]
    continues: NDArray[np.bool_]

    def __call__(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for each of the ids (L,) whether it begins a word."""
        starts: NDArray[np.bool_] = self.begins[ids]
        # The first token has none before it that could go on.
        starts[1:] &= ~self.continues[ids[:-1]]
        return starts


def word_starts(tokenizer: HasPieces, as_albert: bool = False) -> WordStarts:
    """Return the rule for the word starts of a vocabulary.

    Special symbols, punctuation, and pieces marked as such begin words. With `as_albert` the rule is that of
    ALBERT's released code (Lan et al. 2020), in which unmarked pieces with digits or foreign letters begin
    words, too.
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
    # WordPiece cuts words at every punctuation mark and marks all pieces that go on, so its marks say
    # everything.
    if marker == WORDPIECE_CONTINUATION:
        return not piece.startswith(WORDPIECE_CONTINUATION)
    # A piece of BPE codes has no mark at its start: it begins a word unless the piece before it goes on.
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
    # A part of a character (U+FFFD) may be one of a letter.
    return not any(letter.isalnum() or letter == "\ufffd" for letter in text)


def _is_sign_in_albert(piece: str) -> bool:
    """Return whether ALBERT lets an unmarked piece begin a word.

    It does so if the piece is a punctuation mark, or has anything but ASCII letters and punctuation.
    """
    if piece in ALBERT_PUNCTUATION:
        return True
    return not all(
        letter in ALBERT_PUNCTUATION or (letter.isascii() and letter.isalpha()) for letter in piece
    )
