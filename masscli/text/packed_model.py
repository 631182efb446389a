"""The common part of all models with a packed vocabulary: their pieces and ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from masscli.text.packed_vocabulary import PackedVocabulary


class PackedModel:
    """The part of a SubwordModel that depends only on a packed vocabulary.

    Subclasses add how text is encoded and decoded.
    """

    def __init__(self, vocabulary: PackedVocabulary) -> None:
        self._pieces = vocabulary.pieces
        self._special_ids = vocabulary.special_ids
        self._unused_ids = vocabulary.unused_ids
        self._ids = vocabulary.text_ids

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The id of each special piece, by masscli's name for it, such as `<mask>`."""
        return self._special_ids

    @property
    def free_ids(self) -> Sequence[int]:
        """The ids of unused pieces, into which no text is encoded."""
        return self._unused_ids

    @property
    def text_ids(self) -> Mapping[str, int]:
        """The id of each piece that text can be encoded into: all but special and unused pieces."""
        return self._ids
