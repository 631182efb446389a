"""XLM's translation language model: a masked language model over a sentence and its translation, side by side (Conneau and Lample 2019,
section 3.3).  Both sides count positions from 0, and each token bears its own language, so a masked word may be found in either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from masscli.data.batches.batch import Batch, Ids, pad
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.masked_lm.bert import masked_batch
from masscli.objectives.masked_lm.options import TranslationLMOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.code_switching import Switching
from masscli.objectives.shared.corruption import mlm


class Beside:
    """Pairs of lines whose size is that of both together."""

    def __init__(self, pairs: LineDataset) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """The length of the one sequence."""
        total: NDArray[np.int64] = self.pairs.sizes(start, stop).sum(1, keepdims=True)
        return total

    def __getitem__(self, row: int) -> Example:
        return self.pairs[row]


@dataclass(frozen=True)
class BesideCollator:
    """Masks both sides.  `words` are the ids that are not special."""

    options: TranslationLMOptions
    framing: Framing
    sides: tuple[str, ...]
    words: Ids
    switching: Switching

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        o, framing, vocab = self.options, self.framing, self.framing.vocab
        special = np.array(sorted(vocab.special_ids - {vocab.unk}))
        rows, masked, places, spoken = [], [], [], []
        for example, rng in zip(examples, rngs, strict=True):
            parts = [
                framing.with_special_tokens(ids, side)
                for ids, side in zip(example.fields, self.sides, strict=True)
            ]
            row = np.concatenate(parts)
            shares = o.mask_prob, o.leave_unmasked_prob, o.random_token_prob
            rows.append(row)
            shown, chosen = mlm(row, ~np.isin(row, special), *shares, vocab.mask, self.words, vocab.size, rng)
            masked.append((self.switching(shown, rng), chosen))
            places.append(np.concatenate([np.arange(len(part)) for part in parts]))
            spoken.append(
                np.repeat(
                    [framing.language_index(side) or 0 for side in self.sides], [len(part) for part in parts]
                )
            )
        batch = masked_batch(rows, masked, framing, self.sides[0], None, [e.number for e in examples])
        language: torch.Tensor | None = pad(spoken, 0)[0] if framing.languages else None
        return replace(batch, source=replace(batch.source, positions=pad(places, 0)[0], language=language))


class TranslationLM(Objective):
    """Write the masked tokens of both sides."""

    weights: ClassVar[Mapping[str, float]] = {"mlm": 1.0}

    def __init__(self, config: TranslationLMOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Pairs of lines.  Where words are exchanged, the data says which pieces they are."""
        source, target = self.context.languages
        pairs = LineDataset(data.pair(split, source, target), max_examples)
        return Beside(pairs), self.collator(Switching.read(self.options, data))

    def collator(self, switching: Switching = Switching()) -> BesideCollator:
        """Masks."""
        vocab = self.context.framing.vocab
        words = vocab.ordinary_ids
        return BesideCollator(self.options, self.context.framing, self.context.languages, words, switching)

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy at the masked places."""
        hidden, wanted = model.encode(batch.source).hidden, batch.labels["mlm"]
        return {"mlm": Term(*model.loss(hidden.flatten(0, 1)[wanted.positions], wanted.ids, stack="encoder"))}
