"""Word pairs of two languages, and text in which some words are in the other one.

A dictionary is text: a line `WORD WORD` (or more columns, which are not read), the first of one language, the second of another; several
lines may give a word several translations.  Only words that are one piece of the vocabulary can be exchanged, since a line keeps its
length.  `masscli dictionary` makes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from masscli.data.batches.batch import Ids
from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon.dictionary import read_dictionary
from masscli.objectives.shared.options import SwitchingOptions


@dataclass(frozen=True)
class Switching:
    """Puts words of a line into the other language; without a dictionary it does nothing.  `translations` are those of each piece."""

    translations: Mapping[int, Ids] = field(default_factory=dict)
    share: float = 0.0

    @classmethod
    def read(cls, options: SwitchingOptions, data: DataFolder) -> Switching:
        """With the dictionary of the options, in the pieces of the data."""
        if options.switch_dictionary is None:
            return cls()
        return cls(read_dictionary(options.switch_dictionary, data), options.switch_share)

    def __call__(self, ids: Ids, rng: np.random.Generator) -> Ids:
        """Each word that has translations becomes one of them with probability `share`."""
        if not self.translations:
            return ids
        out = ids.copy()
        for place in np.flatnonzero(rng.random(len(ids)) < self.share).tolist():
            others = self.translations.get(int(ids[place]))
            if others is not None:
                out[place] = others[int(rng.integers(len(others)))]
        return out
