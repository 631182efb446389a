"""Code-switching: some words of a sentence are replaced by their translations before the encoder reads it.

A dictionary is a text file with a line `WORD WORD` for each entry: a word of one language, then one of
the other. It is used in both directions. Further columns are ignored, and a word may have several
translations. Only entries whose words are both a single piece of the vocabulary are used, because the
length of a sentence must not change. `masscli dictionary` makes such files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from masscli.data.batches.batch import Ids
from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon.dictionary import read_dictionary
from masscli.objectives.shared.options import CodeSwitchingOptions


@dataclass(frozen=True)
class CodeSwitcher:
    """Replace some tokens of a sentence by their translations.

    `translations` maps a token id to the ids of its translations; if it is empty, nothing is replaced.
    `switch_prob` is the probability with which a token that has translations is replaced.
    """

    translations: Mapping[int, Ids] = field(default_factory=dict)
    switch_prob: float = 0.0

    @classmethod
    def from_options(
        cls, options: CodeSwitchingOptions, data: DataFolder
    ) -> CodeSwitcher:
        """Return the code switcher for the dictionary of --switch-dictionary and the data's vocabulary.

        Without a dictionary, it replaces nothing. Raises MasscliError if no entry of the dictionary can be
        used.
        """
        if options.switch_dictionary is None:
            return cls()
        return cls(
            read_dictionary(options.switch_dictionary, data), options.switch_share
        )

    def __call__(self, token_ids: Ids, rng: np.random.Generator) -> Ids:
        """Return the ids of a sentence in which some tokens are replaced by translations.

        Each token that has translations is replaced with probability `switch_prob`, by one of them at random.
        `token_ids` is not changed.
        """
        if not self.translations:
            return token_ids
        switched = token_ids.copy()
        # A random number is drawn for every token, whether it has translations or not.
        for position in np.flatnonzero(
            rng.random(len(token_ids)) < self.switch_prob
        ).tolist():
            choices = self.translations.get(int(token_ids[position]))
            if choices is not None:
                switched[position] = choices[int(rng.integers(len(choices)))]
        return switched
