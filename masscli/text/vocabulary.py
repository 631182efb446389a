"""The vocabulary that models see: how many token ids there are, and which of them are special."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError


@dataclass(frozen=True, slots=True)
class IdRanges:
    """The ranges of token ids that the encoder, the decoder and the output layer of a model know.

    Each is all ids, except in models imported from other programs: there source and target may have separate
    vocabularies, and the output layer has no logits for the special symbols that masscli adds.
    """

    source: range
    """The ids that the encoder has embeddings for."""
    target: range
    """The ids that the decoder has embeddings for."""
    predicted: range
    """The ids that the output layer has logits for."""

    @classmethod
    def all_of(cls, size: int) -> IdRanges:
        """Return the ranges of a model whose encoder, decoder and output layer know all ids below `size`."""
        return cls(range(size), range(size), range(size))

    @property
    def has_two_vocabularies(self) -> bool:
        """Whether source and target have separate vocabularies, that is, different ranges."""
        return self.source != self.target

    def embedded(self, owner: str) -> range:
        """Return the range of ids that a table of token embeddings has rows for.

        `owner` says whose table it is: `encoder`, `decoder`, or `shared` by both.
        """
        if owner == "shared":
            # With two vocabularies nothing is shared; otherwise both ranges are the same.
            return range(
                min(self.source.start, self.target.start),
                max(self.source.stop, self.target.stop),
            )
        return self.source if owner == "encoder" else self.target

    def predicted_by(self, owner: str) -> range:
        """Return the range of ids that an output layer has logits for.

        `owner` says whose it is: `encoder` or `decoder`. With two vocabularies an encoder predicts source
        ids.
        """
        if owner == "encoder" and self.has_two_vocabularies:
            return self.source
        return self.predicted


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A model's view of a vocabulary: number of token ids, special ids by role, and languages.

    `languages` maps each language to the id of its special token, in the order in which the languages were
    given to `preprocess`. (Only the tables of some models depend on this order, and they store the names
    too.) `spare` are ids reserved for objectives that need a symbol of their own (UniLM's [P], a separator of
    turns). `bos` and `eos` may be the same id, as in XLM. `fingerprint` is a sha256 of the vocabulary: its
    pieces, ids and tokenizer settings.
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
    """The id of the first token of a decoder's input; None means `bos`."""
    forced_prefix: tuple[int, ...] = ()
    """The ids that a decoder must generate first in every output."""
    prompt_start: bool = True
    """Whether a model without encoder reads the first token of a decoder's input before a prompt, too."""
    id_ranges: IdRanges | None = None
    """The ranges of ids that the parts of a model know; None means that each knows all ids."""

    def check_direction(self, source: str, target: str) -> None:
        """Raise MasscliError if a model with this vocabulary cannot translate from `source` to `target`.

        This can happen only with separate vocabularies for source and target: then the first language
        can only be read, and the second only be generated.
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
    def role_ids(self) -> dict[str, int]:
        """The special id of each role: pad, bos, eos, unk, mask, cls and sep."""
        return {
            "pad": self.pad,
            "bos": self.bos,
            "eos": self.eos,
            "unk": self.unk,
            "mask": self.mask,
            "cls": self.cls,
            "sep": self.sep,
        }

    @property
    def special_ids(self) -> frozenset[int]:
        """All special ids, including that of unknown pieces, the spare ones and those of languages."""
        return frozenset(
            (*self.role_ids.values(), *self.spare, *self.languages.values())
        )

    @property
    def all_ids(self) -> NDArray[np.int64]:
        """All ids, special ones included, in increasing order."""
        return np.arange(self.size)

    @property
    def ordinary_ids(self) -> NDArray[np.int64]:
        """The ids that are not special, in increasing order."""
        return np.setdiff1d(self.all_ids, list(self.special_ids))
