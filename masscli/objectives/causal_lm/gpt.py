"""GPT's pre-training: a causal language model over windows of running text (Radford et al. 2018, equation 1).

    L = sum_i -log P(u_i | u_{i-k} .. u_{i-1})

Lines are joined, each closed by the end symbol, and cut into windows of equal length; the first token of a window is predicted from the
start symbol alone.  Perplexity is exp of the mean loss over pieces and line ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from masscli.data.batches.batch import Batch, Labels, Tokens, pad
from masscli.data.batches.dataset import Collator, Dataset, Example, TokenBlockDataset
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.causal_lm.options import GptOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term


class Unframed(TokenBlockDataset):
    """Windows that stand alone: the start symbol takes the place of the last token, which is only predicted."""

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """What the decoder reads."""
        return super().sizes(start, stop) - 2


@dataclass(frozen=True)
class WindowCollator:
    """A window, and the same one token earlier."""

    framing: Framing
    language: str

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        start = np.array([self.framing.decoder_start(self.language)])
        inputs, lengths = pad(
            [np.concatenate([start, e.fields[0][:-1]]) for e in examples], self.framing.vocab.pad
        )
        at = torch.nonzero((torch.arange(inputs.shape[1]) < lengths[:, None]).flatten())[:, 0]
        labels = Labels(torch.from_numpy(np.concatenate([e.fields[0] for e in examples])), at)
        source = Tokens(inputs, lengths, language=self.framing.language_tensor(self.language, len(examples)))
        return Batch(
            source, None, {"lm": labels}, {"lm": float(len(at))}, torch.tensor([e.number for e in examples])
        )


class Gpt(Objective):
    """Write the next token of running text."""

    weights: ClassVar[Mapping[str, float]] = {"lm": 1.0}

    def __init__(self, config: GptOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Windows of running text."""
        column = data.monolingual(split, self.context.dataset_name)
        windows = Unframed(column, self.options.tokens_per_sample, data.vocab.eos, max_examples)
        return windows, self.collator()

    def collator(self) -> WindowCollator:
        """Shifts by one."""
        return WindowCollator(self.context.framing, self.context.dataset_name)

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy of every token."""
        hidden, wanted = model.decode(batch.source, None), batch.labels["lm"]
        return {"lm": Term(*model.loss(hidden.flatten(0, 1)[wanted.positions], wanted.ids, stack="decoder"))}
