"""The vocabulary that models see: how many token ids there are, and which of them are special."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError


@dataclass(frozen=True, slots=True)
class IdRanges:
    """The ranges of ids that each part of a model knows.

    They are all ids, but in models of other programs: there source and target may have vocabularies of their
    own, and the output layer has no logits for the symbols that masscli adds.
    """

    source: range
    """What the encoder has embeddings for."""
    target: range
    """What the decoder has embeddings for."""
    predicted: range
    """What the model has logits for."""

    @classmethod
    def all_of(cls, size: int) -> IdRanges:
        """Return the ranges of a model that knows all of `size` ids everywhere."""
        return cls(range(size), range(size), range(size))

    @property
    def has_two_vocabularies(self) -> bool:
        """Return whether source and target have vocabularies of their own."""
        return self.source != self.target

    def embedded(self, owner: str) -> range:
        """Return the ids of the token embeddings of an owner: `encoder`, `decoder` or `shared`."""
        if owner == "shared":
            # With two vocabularies nothing is shared; otherwise both ranges are the same.
            return range(min(self.source.start, self.target.start), max(self.source.stop, self.target.stop))
        return self.source if owner == "encoder" else self.target

    def predicted_by(self, owner: str) -> range:
        """Return the ids for which the output layer of an owner has logits."""
        # An encoder with a vocabulary of its own can only predict the source.
        if owner == "encoder" and self.has_two_vocabularies:
            return self.source
        return self.predicted


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The number of token ids, the special ids by role, and the languages by name.

    `languages` gives the id of each language's token, in the order in which `preprocess` was given the
    names. Only a model's own tables depend on positions in this order, and they store the names. `spare` are
    ids that are reserved for objectives which need a symbol of their own (UniLM's [P], a separator of
    turns). `bos` and `eos` may be the same id, as in XLM. `fingerprint` is the sha256 of the canonical
    vocabulary: its pieces, ids and tokenizer settings.
    """

    size: int
    pad: int
    bos: int
    eos: int
    unk: int
    mask: int
    cls: int
    sep: int
    spare: tuple[int, ...]
    languages: Mapping[str, int]
    fingerprint: str
    decoder_start: int | None = None
    """What a decoder reads first; None is `bos`."""
    forced_prefix: tuple[int, ...] = ()
    """What a decoder reads next, as the first tokens of every output."""
    id_ranges: IdRanges | None = None
    """What the parts of a model know; None is everything."""

    def check_direction(self, source: str, target: str) -> None:
        """Raise MasscliError if a model with this vocabulary cannot read `source`, or cannot write `target`.

        Where both sides have vocabularies of their own, the first language is read and the second written.
        """
        if self.id_ranges is None or not self.id_ranges.has_two_vocabularies:
            return
        first, second = self.languages
        if (source, target) != (first, second):
            raise MasscliError(
                f"the model has a vocabulary for reading {first} and another one for writing {second}, "
                f"so it cannot read {source} and write {target}",
                f"-s {first} -t {second} is its only direction",
            )

    @property
    def special_ids(self) -> frozenset[int]:
        """The ids that stand for no text, and the id of the unknown piece."""
        roles = (self.pad, self.bos, self.eos, self.unk, self.mask, self.cls, self.sep)
        return frozenset((*roles, *self.spare, *self.languages.values()))

    @property
    def ordinary_ids(self) -> NDArray[np.int64]:
        """All ids that are not special, in increasing order."""
        return np.setdiff1d(np.arange(self.size), list(self.special_ids))
