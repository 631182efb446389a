"""Framing: which special tokens a model reads around a line of text, and how its language is marked.

The same framing serves pre-training, fine-tuning and generation, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids, pad
from masscli.text.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Framing:
    """How a model reads lines: the special tokens around them, and the marks of their languages.

    encoder   [start or tag] words end [tag]        decoder   start or tag, [forced tokens] words end
    """

    vocab: Vocabulary
    source_bos: bool
    """Whether sources begin with a start symbol."""
    language_tag: bool
    """Whether languages are marked with tags, which are tokens."""
    languages: tuple[str, ...]
    """Names in the order of the model's language vectors; empty when the model has none."""
    source_tag: Literal["first", "last"] = "first"
    """Whether the tag of a source takes the place of its start symbol, or stands behind its end symbol."""
    target_tag: Literal["start", "forced"] = "start"
    """Whether the tag of a target takes the place of the decoder's start symbol, or follows it."""
    length_multiple: int = 1
    """Examples of a training batch are padded to a multiple of this many tokens."""

    @property
    def prefix_length(self) -> int:
        """Return the number of special tokens before the first token of a source: 0 or 1."""
        starts_with_tag = self.language_tag and self.source_tag == "first"
        return int(self.source_bos or starts_with_tag)

    @property
    def suffix_length(self) -> int:
        """Return the number of special tokens after the last token of a source: 1 or 2."""
        ends_with_tag = self.language_tag and self.source_tag == "last"
        return 1 + int(ends_with_tag)

    @property
    def target_prefix_length(self) -> int:
        """Return the number of special tokens before the first word that a decoder reads: at least 1."""
        forces_tag = self.language_tag and self.target_tag == "forced"
        return 1 + int(forces_tag) + len(self.vocab.forced_prefix)

    def source_start(self, language: str) -> int:
        """Return the symbol that a source begins with if it has one: the start symbol, or a tag."""
        if self.language_tag and self.source_tag == "first":
            return self.vocab.languages[language]
        return self.vocab.bos

    def decoder_start(self, language: str) -> int:
        """Return the first input of a decoder: its start symbol, or the tag of the language."""
        if self.language_tag and self.target_tag == "start":
            return self.vocab.languages[language]
        if self.vocab.decoder_start is None:
            return self.vocab.bos
        return self.vocab.decoder_start

    def forced_tokens(self, language: str) -> list[int]:
        """Return the special tokens that every output begins with, after the decoder's first input."""
        tokens = list(self.vocab.forced_prefix)
        if self.language_tag and self.target_tag == "forced":
            tokens.append(self.vocab.languages[language])
        return tokens

    def with_special_tokens(self, ids: Ids, language: str) -> Ids:
        """Return the ids of a line between what a decoder reads first and the end symbol.

        A decoder reads all of it but the end, and predicts all of it but the start.
        """
        start = [self.decoder_start(language), *self.forced_tokens(language)]
        return np.concatenate([start, ids, [self.vocab.eos]])

    @property
    def synthetic_tag(self) -> int:
        """Return the id that stands before synthetic sources. Raises MasscliError if none is free."""
        if not self.vocab.spare:
            raise MasscliError(
                "--tag-sources: the vocabulary has no spare piece to mark synthetic sources with",
                "leave it out, or make a vocabulary with `masscli preprocess`",
            )
        return self.vocab.spare[-1]

    def encoder_input(self, ids: Ids, language: str) -> Ids:
        """Return the ids of a line with the special tokens that an encoder reads."""
        return self.with_source_tokens(np.concatenate([ids, [self.vocab.eos]]), language)

    def with_source_tokens(self, ids: Ids, language: str) -> Ids:
        """Return the ids of a line and its end symbol with the other special tokens of a source."""
        start = [self.source_start(language)][: self.prefix_length]
        tag = []
        if self.suffix_length > 1:
            tag = [self.vocab.languages[language]]
        # Empty lists would be floats in numpy.
        return np.concatenate([np.array(start, np.int64), ids, np.array(tag, np.int64)])

    def pad_ids(self, sequences: Sequence[Ids]) -> tuple[Tensor, Tensor]:
        """Return sequences of token ids as a padded block (B, L), and their lengths (B,)."""
        return pad(sequences, self.vocab.pad, self.length_multiple)

    def pad_values(self, sequences: Sequence[Ids]) -> Tensor:
        """Return values that belong to token ids, such as positions, as a block (B, L) padded with 0."""
        block, _ = pad(sequences, 0, self.length_multiple)
        return block

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
