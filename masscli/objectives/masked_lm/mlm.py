"""Masked language model: predict 15% of the tokens from the rest (Devlin et al. 2019), chosen anew at every visit (Liu et al. 2019).

Of the chosen tokens 80% are shown as [M], 10% as a random token, 10% as they are.  Special symbols are not chosen.  Losses are taken at
the chosen places alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from masscli.data.batches.batch import Batch, Ids, Labels, Tokens, pad
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.masked_lm.options import MaskedLMOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.code_switching import Switching
from masscli.objectives.shared.corruption import mlm


@dataclass(frozen=True)
class MaskingCollator:
    """Masks tokens of every example.  `words` are the ids that are not special."""

    options: MaskedLMOptions
    framing: Framing
    language: str
    words: Ids
    switching: Switching

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        o, vocab, special = (
            self.options,
            self.framing.vocab,
            np.array(sorted(self.framing.vocab.special_ids - {self.framing.vocab.unk})),
        )
        lines, places, wanted = [], [], []
        for example, rng in zip(examples, rngs, strict=True):
            ids = self.framing.encoder_input(example.fields[0], self.language)
            choosable = ~np.isin(ids, special)
            shares = o.mask_prob, o.leave_unmasked_prob, o.random_token_prob
            shown, chosen = mlm(ids, choosable, *shares, vocab.mask, self.words, vocab.size, rng)
            lines.append(self.switching(shown, rng))
            places.append(chosen)
            wanted.append(ids[chosen])
        block, lengths = pad(lines, vocab.pad)
        at = np.concatenate([row * block.shape[1] + chosen for row, chosen in enumerate(places)])
        labels = Labels(torch.from_numpy(np.concatenate(wanted)), torch.from_numpy(at))
        source = Tokens(block, lengths, language=self.framing.language_tensor(self.language, len(lines)))
        return Batch(
            source, None, {"mlm": labels}, {"mlm": float(len(at))}, torch.tensor([e.number for e in examples])
        )


class MaskedLM(Objective):
    """Write the masked tokens."""

    weights: ClassVar[Mapping[str, float]] = {"mlm": 1.0}

    def __init__(self, config: MaskedLMOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Sentences.  Where words are exchanged, the data says which pieces they are."""
        lines = LineDataset([data.monolingual(split, self.context.dataset_name)], max_examples)
        return lines, self.collator(Switching.read(self.options, data))

    def collator(self, switching: Switching = Switching()) -> MaskingCollator:
        """Masks."""
        vocab = self.context.framing.vocab
        words = vocab.ordinary_ids
        return MaskingCollator(
            self.options, self.context.framing, self.context.dataset_name, words, switching
        )

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy at the chosen places."""
        hidden, wanted = model.encode(batch.source).hidden, batch.labels["mlm"]
        return {"mlm": Term(*model.loss(hidden.flatten(0, 1)[wanted.positions], wanted.ids, stack="encoder"))}
