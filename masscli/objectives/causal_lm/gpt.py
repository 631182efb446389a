"""GPT: a causal language model over windows of running text (Radford et al. 2018; see README.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from masscli.data.batches.batch import Batch, Labels, Tokens
from masscli.data.batches.dataset import Collator, Dataset, Example, TokenBlockDataset
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.causal_lm.options import GptOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.batching import (
    example_fields,
    example_numbers,
    non_padding_positions,
)
from masscli.objectives.shared.token_loss import token_loss


class WindowDataset(TokenBlockDataset):
    """Windows of running text for a decoder, with sizes that count what the decoder reads.

    The decoder reads the start symbol and all tokens of a window but the last, which is only predicted. So
    the size of a window is its number of tokens.
    """

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the number of tokens that the decoder reads of each window: (stop - start, 1)."""
        # The base class counts one token before and one after each block; a window has neither.
        return super().sizes(start, stop) - 2


@dataclass(frozen=True)
class WindowCollator:
    """Make batches in which each token of a window is predicted from those before.

    The first token is predicted from the start symbol.
    """

    framing: Framing
    language: str

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch of windows with labels of the loss term `lm`."""
        start = np.array([self.framing.decoder_start(self.language)])
        windows = example_fields(examples, 0)
        # Nothing follows the last token of a window, so it is only predicted.
        inputs = [np.concatenate([start, window[:-1]]) for window in windows]
        input_ids, lengths = self.framing.pad_ids(inputs)
        # Every token of a window has a label, including the first.
        label_ids = torch.from_numpy(np.concatenate(windows))
        labels = Labels(label_ids, non_padding_positions(lengths, input_ids.shape[1]))
        language = self.framing.language_tensor(self.language, len(examples))
        source = Tokens(input_ids, lengths, language=language)
        numbers = torch.tensor(example_numbers(examples))
        return Batch(
            source, None, {"lm": labels}, {"lm": float(len(label_ids))}, numbers
        )


class Gpt(Objective):
    """GPT: predict each next token of windows of running text with the decoder."""

    weights: ClassVar[Mapping[str, float]] = {"lm": 1.0}

    def __init__(self, config: GptOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return windows of running text, and their collator.

        `max_examples` limits the number of sentences, not of windows.
        """
        sentences = data.monolingual(split, self.context.dataset_name)
        windows = WindowDataset(
            sentences, self.options.tokens_per_sample, data.vocab.eos, max_examples
        )
        return windows, self.collator()

    def collator(self) -> WindowCollator:
        """Return the collator, which makes batches of windows for the decoder."""
        return WindowCollator(self.context.framing, self.context.dataset_name)

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the cross-entropy of all tokens of the windows, summed, as the loss term `lm`."""
        return {
            "lm": token_loss(
                model, model.decode(batch.source, None), batch.labels["lm"], "decoder"
            )
        }
