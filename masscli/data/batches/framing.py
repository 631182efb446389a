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
    source_bos: bool
    language_tag: bool
    languages: tuple[str, ...]

    @property
    def prefix_length(self) -> int:
        """How many symbols stand before the first word of a source: 0 or 1."""
        return int(self.source_bos or self.language_tag)

    def decoder_start(self, language: str) -> int:
        """The first thing a decoder reads."""
        return self.vocab.languages[language] if self.language_tag else self.vocab.bos

    def with_special_tokens(self, ids: Ids, language: str) -> Ids:
        """start, words, end: what every other sequence is cut from."""
        return np.concatenate([[self.decoder_start(language)], ids, [self.vocab.eos]])

    def encoder_input(self, ids: Ids, language: str) -> Ids:
        """What an encoder reads."""
        return self.with_special_tokens(ids, language)[1 - self.prefix_length :]

    def language_index(self, language: str) -> int | None:
        """Index of a language in the model's tables, None when it has none."""
        return self.languages.index(language) if self.languages else None

    def language_tensor(self, language: str, rows: int) -> Tensor | None:
        """(rows,) indices, as `Tokens.language` wants them."""
        index = self.language_index(language)
        return None if index is None else torch.full((rows,), index)
