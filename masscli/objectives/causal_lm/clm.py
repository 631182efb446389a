"""A causal language model over single sentences, with the decoder alone. See README.md in this folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from masscli.data.batches.batch import Batch, Labels, Tokens
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.causal_lm.options import CausalLMOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.batching import example_numbers, non_padding_positions
from masscli.objectives.shared.token_loss import token_loss


@dataclass(frozen=True)
class SentenceCollator:
    """Make batches in which each token of a sentence, and its end, is predicted from the tokens before."""

    framing: Framing
    language: str

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch of sentences with labels of the loss term `clm`."""
        sequences = []
        for example in examples:
            sequences.append(
                self.framing.with_special_tokens(example.fields[0], self.language)
            )
        # The decoder reads each sequence without its end, and predicts it without its start.
        input_ids, lengths = self.framing.pad_ids(
            [sequence[:-1] for sequence in sequences]
        )
        label_ids = torch.from_numpy(
            np.concatenate([sequence[1:] for sequence in sequences])
        )
        labels = Labels(label_ids, non_padding_positions(lengths, input_ids.shape[1]))
        language = self.framing.language_tensor(self.language, len(examples))
        source = Tokens(input_ids, lengths, language=language)
        numbers = torch.tensor(example_numbers(examples))
        return Batch(
            source, None, {"clm": labels}, {"clm": float(len(label_ids))}, numbers
        )


class CausalLM(Objective):
    """Causal language model: predict each next token of a sentence with the decoder."""

    weights: ClassVar[Mapping[str, float]] = {"clm": 1.0}

    def __init__(self, config: CausalLMOptions, context: ObjectiveContext) -> None:
        super().__init__(context)

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the first `max_examples` sentences (default: all) of a split, and their collator."""
        sentences = LineDataset(
            [data.monolingual(split, self.context.dataset_name)], max_examples
        )
        return sentences, self.collator()

    def collator(self) -> SentenceCollator:
        """Return the collator, which makes batches of sentences for the decoder."""
        return SentenceCollator(self.context.framing, self.context.dataset_name)

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the cross-entropy of all tokens and end symbols, summed, as the loss term `clm`."""
        return {
            "clm": token_loss(
                model, model.decode(batch.source, None), batch.labels["clm"], "decoder"
            )
        }
