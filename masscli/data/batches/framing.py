"""Framing: which special tokens a model reads around a line of text, and how its language is marked.

The same framing serves pre-training, fine-tuning and generation, so that they cannot disagree.
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
    """How a model reads lines: the special tokens around them, and the marks of their languages."""

    vocab: Vocabulary
    source_bos: bool
    """Whether sources begin with a start symbol."""
    language_tag: bool
    """Whether the language's tag takes the place of the start symbol; then sources always have one."""
    languages: tuple[str, ...]
    """Names in the order of the model's language vectors; empty when the model has none."""

    @property
    def prefix_length(self) -> int:
        """Return the number of special tokens before the first token of a source: 0 or 1."""
        return int(self.source_bos or self.language_tag)

    def decoder_start(self, language: str) -> int:
        """Return the first input of a decoder: the start symbol, or the tag of the language."""
        if self.language_tag:
            return self.vocab.languages[language]
        return self.vocab.bos

    def with_special_tokens(self, ids: Ids, language: str) -> Ids:
        """Return the ids of a line between a start symbol (or the tag of its language) and the end symbol.

        The inputs and labels of all stacks are parts of this sequence.
        """
        return np.concatenate([[self.decoder_start(language)], ids, [self.vocab.eos]])

    def encoder_input(self, ids: Ids, language: str) -> Ids:
        """Return the ids of a line with the special tokens that an encoder reads."""
        # Without a prefix, the start symbol is cut off again.
        return self.with_special_tokens(ids, language)[1 - self.prefix_length :]

    def language_index(self, language: str) -> int | None:
        """Return the row of a language in the model's language vectors, or None if the model has none."""
        if not self.languages:
            return None
        return self.languages.index(language)

    def language_tensor(self, language: str, rows: int) -> Tensor | None:
        """Return the row of a language vector, `rows` times, for `Tokens.language`; None if none exist."""
        index = self.language_index(language)
        if index is None:
            return None
        return torch.full((rows,), index)
