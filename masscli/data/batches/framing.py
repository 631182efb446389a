"""Framing: which special tokens surround a line of text, and how its language is marked.

Pre-training, fine-tuning and generation all use the same framing, so that they cannot disagree.
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
    """Languages in the order of the model's language embeddings; empty if the model has none."""
    source_tag: Literal["first", "last", "target"] = "first"
    """Whether the language tag of a source replaces its start symbol (first) or follows its end symbol
    (last), or the tag of the target language replaces the start symbol (target)."""
    target_tag: Literal["start", "forced", "none"] = "start"
    """Whether the language tag of a target replaces the decoder's start symbol (start), follows it (forced),
    or is not read by the decoder (none)."""
    length_multiple: int = 1
    """The lengths of padded blocks are multiples of this number of tokens."""

    @property
    def prefix_length(self) -> int:
        """Return the number of special tokens before the first token of a source: 0 or 1."""
        starts_with_tag = self.language_tag and self.source_tag != "last"
        return int(self.source_bos or starts_with_tag)

    @property
    def suffix_length(self) -> int:
        """Return the number of special tokens after the last token of a source: 1 or 2."""
        ends_with_tag = self.language_tag and self.source_tag == "last"
        return 1 + int(ends_with_tag)

    @property
    def target_prefix_length(self) -> int:
        """Return the number of special tokens that a decoder reads before the first word: at least 1."""
        forces_tag = self.language_tag and self.target_tag == "forced"
        return 1 + int(forces_tag) + len(self.vocab.forced_prefix)

    def source_start(self, language: str, target: str | None = None) -> int:
        """Return the start symbol or language tag with which a source begins, if it begins with one.

        `target` is the language that it is to be translated into; None means its own, `language`.
        """
        if self.language_tag and self.source_tag == "first":
            return self.vocab.languages[language]
        if self.language_tag and self.source_tag == "target":
            # Text that is reconstructed, as in pre-training, is generated in its own language.
            return self.vocab.languages[target or language]
        return self.vocab.bos

    def decoder_start(self, language: str) -> int:
        """Return the id that a decoder reads first: its start symbol, or the tag of the language."""
        if self.language_tag and self.target_tag == "start":
            return self.vocab.languages[language]
        # Some imported vocabularies name this symbol, since it is not their start symbol.
        if self.vocab.decoder_start is None:
            return self.vocab.bos
        return self.vocab.decoder_start

    def forced_tokens(self, language: str) -> list[int]:
        """Return the ids with which every output begins, after the decoder's start symbol.

        They are given to the decoder rather than chosen by it, and may include the tag of the language.
        """
        tokens = list(self.vocab.forced_prefix)
        if self.language_tag and self.target_tag == "forced":
            tokens.append(self.vocab.languages[language])
        return tokens

    def prompt(self, ids: Ids, language: str) -> Ids:
        """Return the ids that a model without encoder reads before its output, for the text `ids`.

        These are the decoder's start symbol, forced tokens and the text. Of models whose vocabulary says so,
        such as an imported GPT-2, they are the text alone, unless it is empty.
        """
        if len(ids) and not self.vocab.prompt_start:
            return ids
        start = [self.decoder_start(language), *self.forced_tokens(language)]
        return np.concatenate([start, ids])

    def prompt_length(self, text_length: int) -> int:
        """Return the number of ids that `prompt` returns for a text of `text_length` ids."""
        if text_length and not self.vocab.prompt_start:
            return text_length
        return self.target_prefix_length + text_length

    def with_special_tokens(self, ids: Ids, language: str) -> Ids:
        """Return the ids of a target: decoder start, forced tokens, `ids`, end symbol.

        A decoder reads all of it but the last token, and predicts all of it but the first.
        """
        # This list is never empty; NumPy would interpret an empty one as floats.
        start = [self.decoder_start(language), *self.forced_tokens(language)]
        return np.concatenate([start, ids, [self.vocab.eos]])

    @property
    def synthetic_tag(self) -> int:
        """Return the id of the token that is put before synthetic (back-translated) sources.

        It is a spare piece of the vocabulary. Raises MasscliError if there is none.
        """
        if not self.vocab.spare:
            raise MasscliError(
                "--tag-sources: the vocabulary has no spare piece to mark synthetic sources with",
                "leave it out, or make a vocabulary with `masscli preprocess`",
            )
        return self.vocab.spare[-1]

    def encoder_input(self, ids: Ids, language: str, target: str | None = None) -> Ids:
        """Return the ids that an encoder reads: `ids`, the end symbol and, if configured, start and tag.

        `target` is the language that the text is to be translated into; None means its own, `language`.
        """
        return self.with_source_tokens(
            np.concatenate([ids, [self.vocab.eos]]), language, target
        )

    def with_source_tokens(
        self, ids: Ids, language: str, target: str | None = None
    ) -> Ids:
        """Return the ids that an encoder reads, made from the ids of a line that end with the end symbol.

        The start symbol or a language tag is added before them, and a tag after them, as the framing says.
        `target` is the language that the line is to be translated into; None means its own, `language`.
        """
        # The prefix is empty if sources begin with neither a start symbol nor a tag.
        start = [self.source_start(language, target)][: self.prefix_length]
        tag = []
        if self.suffix_length > 1:
            tag = [self.vocab.languages[language]]
        # NumPy would interpret an empty list as floats.
        return np.concatenate([np.array(start, np.int64), ids, np.array(tag, np.int64)])

    def pad_ids(self, sequences: Sequence[Ids]) -> tuple[Tensor, Tensor]:
        """Pad sequences of token ids; return the block (B, L) and the lengths (B,) before padding."""
        return pad(sequences, self.vocab.pad, self.length_multiple)

    def pad_values(self, sequences: Sequence[Ids]) -> Tensor:
        """Pad values that belong to token ids, such as positions, with 0; return the block (B, L)."""
        block, _ = pad(sequences, 0, self.length_multiple)
        return block

    def language_index(self, language: str) -> int | None:
        """Return the row of a language in the model's language embeddings, or None if the model has none."""
        if not self.languages:
            return None
        return self.languages.index(language)

    def language_tensor(self, language: str, rows: int) -> Tensor | None:
        """Return `Tokens.language` for `rows` rows of text in one language: its index, repeated (rows,).

        Returns None if the model has no language embeddings.
        """
        index = self.language_index(language)
        if index is None:
            return None
        return torch.full((rows,), index)
