"""Prefix language model: the encoder reads the first part of a sentence, the decoder writes the rest.

With a prefix of p tokens the loss is the sum over t > p of -log P(x_t | x_1 .. x_{t-1}) (Raffel et al. 2020,
section 3.2.1).
"""

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
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.sequence_to_sequence import (
    sequence_loss,
    sequence_pair_batch,
)
from masscli_plugin.options import PrefixLMOptions


@dataclass(frozen=True)
class PrefixCollator:
    """Cut every sentence in two: what the encoder reads, and what the decoder writes."""

    prefix_share: float
    framing: Framing
    language: str

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch. A collator with noise would draw it from `rngs`, one generator for each example."""
        sources, targets, numbers = [], [], []
        for example in examples:
            sentence = example.fields[0]
            # At least one token on each side, where there are two.
            end = min(
                max(1, round(self.prefix_share * len(sentence))),
                max(1, len(sentence) - 1),
            )
            sources.append(self.framing.encoder_input(sentence[:end], self.language))
            targets.append(sentence[end:])
            numbers.append(example.number)
        languages = (self.language, self.language)
        return sequence_pair_batch(
            self.framing, sources, targets, languages, "prefix-lm", numbers
        )


class PrefixLM(Objective):
    """Write the rest of a sentence."""

    weights: ClassVar[Mapping[str, float]] = {"prefix-lm": 1.0}

    def __init__(self, options: PrefixLMOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = options

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the sentences of a language, and how they become batches."""
        language = self.context.dataset_name
        sentences = LineDataset([data.monolingual(split, language)], max_examples)
        return sentences, PrefixCollator(
            self.options.prefix_share, self.context.framing, language
        )

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the summed cross-entropy of the rest of each sentence."""
        return {"prefix-lm": sequence_loss(model, batch, "prefix-lm")}
