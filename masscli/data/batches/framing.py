"""How a line of ids becomes what a stack reads: which symbols stand at its ends, and how its language is said.

The same frame serves pre-training, fine-tuning and generation, so that they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from masscli.data.batches.batch import Ids
from masscli.text.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Framing:
    """`bos`: sources begin with a start symbol; `tag`: the language's tag stands in its place (and then sources always have one);
    `languages`: names in the order of the model's language vectors, empty when it has none."""

    vocab: Vocabulary
    bos: bool
    tag: bool
    languages: tuple[str, ...]

    @property
    def lead(self) -> int:
        """How many symbols stand before the first word of a source: 0 or 1."""
        return int(self.bos or self.tag)

    def start(self, language: str) -> int:
        """The first thing a decoder reads."""
        return self.vocab.languages[language] if self.tag else self.vocab.bos

    def row(self, ids: Ids, language: str) -> Ids:
        """start, words, end: what every other sequence is cut from."""
        return np.concatenate([[self.start(language)], ids, [self.vocab.eos]])

    def source(self, ids: Ids, language: str) -> Ids:
        """What an encoder reads."""
        return self.row(ids, language)[1 - self.lead :]

    def language_index(self, language: str) -> int | None:
        """Index of a language in the model's tables, None when it has none."""
        return self.languages.index(language) if self.languages else None

    def language(self, language: str, rows: int) -> Tensor | None:
        """(rows,) indices, as `Tokens.language` wants them."""
        index = self.language_index(language)
        return None if index is None else torch.full((rows,), index)
