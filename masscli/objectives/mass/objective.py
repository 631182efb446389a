"""MASS: masked sequence-to-sequence pre-training (Song et al. 2019, arXiv 1905.02450).

For a sentence x of n words, a fragment u..v of k = v - u + 1 words is hidden from the encoder and written by the decoder:

    L = - sum_{t=u}^{v} log P(x_t | x_{u-1..t-1}, encoder(x with u..v replaced by [M]))                (equation 1)

k = 1 is a masked language model with one mask, k = n a causal one.  The decoder reads the fragment alone, at its original positions, so it
costs the fragment's length only.  What the three released code bases do differently is named by the presets in masscli/methods.py.

Corruption is `masscli.data.noise.mass`; this file makes batches of it and takes the loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from masscli.data.batches.batch import Batch, Ids, Labels, Tokens, pad
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset, TokenBlockDataset
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.mass.corruption import Masked, mass
from masscli.objectives.mass.options import MassOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.code_switching import Switching

WINDOW = 512
"""Tokens of a window in the released code for summarization."""


@dataclass(frozen=True)
class MassCollator:
    """Hides a fragment of every example.  `words` are the ids that are not special."""

    options: MassOptions
    framing: Framing
    language: str
    words: Ids
    switching: Switching

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        vocab = self.framing.vocab
        rows = [self.framing.with_special_tokens(e.fields[0], self.language) for e in examples]
        masked = [
            mass(row, self.options, vocab.mask, self.words, vocab.size, rng)
            for row, rng in zip(rows, rngs, strict=True)
        ]
        masked = [
            m._replace(corrupted=self.switching(m.corrupted, rng))
            for m, rng in zip(masked, rngs, strict=True)
        ]
        return assemble(masked, self.options, self.framing, self.language, [e.number for e in examples])


def assemble(
    masked: Sequence[Masked], options: MassOptions, framing: Framing, language: str, numbers: Sequence[int]
) -> Batch:
    """Pad masked rows into a batch."""
    lead = 1 - framing.prefix_length
    ids, lengths = pad([m.corrupted[lead:] for m in masked], framing.vocab.pad)
    inputs, read = pad([m.inputs for m in masked], framing.vocab.pad)
    positions, _ = pad([m.positions for m in masked], 0)
    visible = None
    if options.hide != "none":
        hidden, _ = pad([m.hidden[lead:].astype(np.int64) for m in masked], 0)
        visible = hidden == 0
        real = torch.arange(ids.shape[1]) < lengths[:, None]
        # A row that is hidden whole would leave attention nothing to look at: such a row stays visible.
        visible |= ~(visible & real).any(1, keepdim=True)
    at = np.concatenate([row * inputs.shape[1] + m.at for row, m in enumerate(masked)])
    labels = torch.from_numpy(np.concatenate([m.labels for m in masked]))
    spoken = framing.language_tensor(language, len(masked))
    source = Tokens(
        ids,
        lengths,
        language=spoken,
        cross_attention_mask=visible,
        self_attention_mask=visible if options.hide == "both" else None,
    )
    return Batch(
        source=source,
        target=Tokens(inputs, read, positions=positions, language=spoken),
        labels={"mass": Labels(labels, torch.from_numpy(at))},
        counts={"mass": float(len(labels))},
        example_numbers=torch.tensor(numbers),
    )


class Mass(Objective):
    """Write the hidden fragment."""

    weights: ClassVar[Mapping[str, float]] = {"mass": 1.0}

    def __init__(self, config: MassOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config.resolved()

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Sentences, or windows of running text where blocks are used."""
        column = data.monolingual(split, self.context.dataset_name)
        collator = self.collator(Switching.read(self.options, data))
        if self.options.block:
            room = self.context.model.max_positions - 1 - self.context.framing.prefix_length
            size = self.options.window or min(WINDOW, room)
            return TokenBlockDataset(column, size, data.vocab.eos, max_examples), collator
        return LineDataset([column], max_examples), collator

    def collator(self, switching: Switching = Switching()) -> MassCollator:
        """Hides fragments."""
        vocab = self.context.framing.vocab
        words = vocab.ordinary_ids
        return MassCollator(self.options, self.context.framing, self.context.dataset_name, words, switching)

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy of the fragment."""
        return {"mass": Term(*sequence_loss(model, batch, "mass"))}


def sequence_loss(
    model: Transformer, batch: Batch, term: str, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Encode, decode, and compare with the labels of a term; every sequence-to-sequence objective ends here."""
    assert batch.target is not None
    hidden = model.decode(batch.target, model.encode(batch.source))
    wanted = batch.labels[term]
    return model.loss(hidden.flatten(0, 1)[wanted.positions], wanted.ids, smoothing)
