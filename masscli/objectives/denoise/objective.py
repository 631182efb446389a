"""Denoising auto-encoder: rebuild a sentence from a shuffled, thinned and blanked copy (Vincent et al. 2008; noise of Lample et al. 2018).

The DAE baseline of the MASS paper, and the companion of back-translation in unsupervised translation.
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
from masscli.objectives.denoise.corruption import denoise
from masscli.objectives.denoise.options import DenoiseOptions
from masscli.objectives.mass.objective import sequence_loss
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.code_switching import Switching
from masscli.objectives.translate.objective import pair_batch


@dataclass(frozen=True)
class NoisyCollator:
    """The source is a noisy copy of the target."""

    options: DenoiseOptions
    framing: Framing
    language: str
    switching: Switching

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        o, mask = self.options, self.framing.vocab.mask
        sources = []
        for example, rng in zip(examples, rngs, strict=True):
            noisy = denoise(example.fields[0], o.word_shuffle, o.word_dropout, o.word_blank, mask, rng)
            sources.append(self.framing.encoder_input(self.switching(noisy, rng), self.language))
        sides = (self.language, self.language)
        return pair_batch(
            self.framing,
            sources,
            [e.fields[0] for e in examples],
            sides,
            "denoise",
            [e.number for e in examples],
        )


class Denoise(Objective):
    """Write the clean sentence."""

    weights: ClassVar[Mapping[str, float]] = {"denoise": 1.0}

    def __init__(self, config: DenoiseOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Sentences.  Where words are exchanged, the data says which pieces they are."""
        lines = LineDataset([data.monolingual(split, self.context.dataset_name)], max_examples)
        return lines, self.collator(Switching.read(self.options, data))

    def collator(self, switching: Switching = Switching()) -> NoisyCollator:
        """Adds noise to the source."""
        return NoisyCollator(self.options, self.context.framing, self.context.dataset_name, switching)

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy of the clean sentence."""
        return {"denoise": Term(*sequence_loss(model, batch, "denoise"))}
