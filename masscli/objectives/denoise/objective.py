"""Denoising auto-encoder: reconstruct a sentence from a noisy copy. See README.md in this folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.denoise.options import DenoiseOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.batching import example_fields, example_numbers
from masscli.objectives.shared.code_switching import CodeSwitcher
from masscli.objectives.shared.sentence_noise import add_noise, infill
from masscli.objectives.shared.sequence_to_sequence import (
    sequence_loss,
    sequence_pair_batch,
)
from masscli.text.word_starts import WordStarts, word_starts


@dataclass(frozen=True)
class DenoisingCollator:
    """Make batches with a noisy sentence as the source and the clean one as the target."""

    options: DenoiseOptions
    framing: Framing
    language: str
    code_switcher: CodeSwitcher
    max_length: int
    """The most tokens of a source, special ones not counted, for which the model has positions."""
    word_starts: WordStarts | None = None
    """A function that tells which tokens begin a word, if noise is added to whole words; otherwise None."""

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch of sentences with labels of the loss term `denoise`."""
        sources = []
        for example, rng in zip(examples, rngs, strict=True):
            token_ids = example.fields[0]
            # Without spans no numbers are drawn.
            if self.options.infill_share:
                token_ids = infill(
                    token_ids,
                    self.options.infill_share,
                    self.options.infill_length,
                    self.framing.vocab.mask,
                    rng,
                    self.max_length,
                )
            starts_word = (
                None if self.word_starts is None else self.word_starts(token_ids)
            )
            noisy = add_noise(
                token_ids,
                self.options.word_shuffle,
                self.options.word_dropout,
                self.options.word_blank,
                self.framing.vocab.mask,
                rng,
                starts_word,
            )
            # Words are translated after the noise, so dropped words are not.
            sources.append(
                self.framing.encoder_input(
                    self.code_switcher(noisy, rng), self.language
                )
            )
        targets = example_fields(examples, 0)
        numbers = example_numbers(examples)
        # The decoder writes the language that the encoder reads.
        languages = (self.language, self.language)
        return sequence_pair_batch(
            self.framing, sources, targets, languages, "denoise", numbers
        )


class Denoise(Objective):
    """Denoising: predict a sentence from a noisy copy of it."""

    weights: ClassVar[Mapping[str, float]] = {"denoise": 1.0}
    predicts_from_source = True

    def __init__(self, config: DenoiseOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the first `max_examples` sentences (default: all) of a split, and their collator."""
        sentences = LineDataset(
            [data.monolingual(split, self.context.dataset_name)], max_examples
        )
        starts = (
            word_starts(data.tokenizer()) if self.options.noise_unit == "word" else None
        )
        return sentences, self.collator(
            CodeSwitcher.from_options(self.options, data), starts
        )

    def collator(
        self,
        code_switcher: CodeSwitcher = CodeSwitcher(),
        starts: WordStarts | None = None,
    ) -> DenoisingCollator:
        """Return the collator, which makes batches of noisy and clean sentences.

        `code_switcher` replaces words of the noisy sentence (default: none). `starts` tells which tokens
        begin a word, so that noise is added to whole words; if it is None, noise is added to tokens.
        """
        context = self.context
        framing = context.framing
        special_tokens = framing.prefix_length + framing.suffix_length
        return DenoisingCollator(
            self.options,
            framing,
            context.dataset_name,
            code_switcher,
            context.model.max_positions - special_tokens,
            starts,
        )

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the cross-entropy of the clean sentences, summed, as the loss term `denoise`."""
        return {"denoise": sequence_loss(model, batch, "denoise")}
