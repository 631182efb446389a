"""The vocabulary that models see: how many token ids there are, and which of them are special."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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

    @property
    def special_ids(self) -> frozenset[int]:
        """The ids that stand for no text, and the id of the unknown piece."""
        roles = (self.pad, self.bos, self.eos, self.unk, self.mask, self.cls, self.sep)
        return frozenset((*roles, *self.spare, *self.languages.values()))

    @property
    def ordinary_ids(self) -> NDArray[np.int64]:
        """All ids that are not special, in increasing order."""
        return np.setdiff1d(np.arange(self.size), list(self.special_ids))
