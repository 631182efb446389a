"""Causal language model: log P(x) = sum_t log P(x_t | x_<t), with a decoder that has no memory (Radford et al. 2018, equation 1).

A sentence is an example; it starts with the start symbol (or its language's tag) and ends with the end symbol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from masscli.data.batches.batch import Batch, Labels, Tokens, pad
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.causal_lm.options import CausalLMOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term


@dataclass(frozen=True)
class TextCollator:
    """A text and the same text one token later."""

    framing: Framing
    language: str

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        rows = [self.framing.with_special_tokens(e.fields[0], self.language) for e in examples]
        inputs, lengths = pad([r[:-1] for r in rows], self.framing.vocab.pad)
        at = torch.nonzero((torch.arange(inputs.shape[1]) < lengths[:, None]).flatten())[:, 0]
        labels = torch.from_numpy(np.concatenate([r[1:] for r in rows]))
        source = Tokens(inputs, lengths, language=self.framing.language_tensor(self.language, len(rows)))
        return Batch(
            source,
            None,
            {"clm": Labels(labels, at)},
            {"clm": float(len(labels))},
            torch.tensor([e.number for e in examples]),
        )


class CausalLM(Objective):
    """Write the next token."""

    weights: ClassVar[Mapping[str, float]] = {"clm": 1.0}

    def __init__(self, config: CausalLMOptions, context: ObjectiveContext) -> None:
        super().__init__(context)

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Sentences."""
        lines = LineDataset([data.monolingual(split, self.context.dataset_name)], max_examples)
        return lines, self.collator()

    def collator(self) -> TextCollator:
        """Shifts by one."""
        return TextCollator(self.context.framing, self.context.dataset_name)

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy of every token."""
        hidden, wanted = model.decode(batch.source, None), batch.labels["clm"]
        return {"clm": Term(*model.loss(hidden.flatten(0, 1)[wanted.positions], wanted.ids, stack="decoder"))}
