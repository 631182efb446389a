"""Supervised sequence to sequence: maximum likelihood of the target given the source, with label smoothing (Szegedy et al. 2016).

    L = - sum_t sum_v q(v | y_t) log P(v | y_<t, x),   q = 1 - eps on y_t, plus eps / V everywhere

One stream learns one direction; several streams on one model translate in several directions.

Where pairs are few, a decoder learns them by heart from what it has written so far; words that it, or the encoder, reads as [M] in training
make it look at the source instead (word dropout; Bowman et al. 2016, section 3.1).  Validation sees everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from masscli.data.batches.batch import Batch, Ids, Labels, Tokens, pad
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.mass.objective import sequence_loss
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.translate.options import TranslateOptions


@dataclass(frozen=True)
class PairCollator:
    """Source and target as they are; where words will be blanked, a random number for each example."""

    framing: Framing
    source: str
    target: str
    term: str
    seeded: bool = False

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        sources = [self.framing.encoder_input(e.fields[0], self.source) for e in examples]
        batch = pair_batch(self.framing, sources, [e.fields[1] for e in examples], (self.source, self.target), self.term,
                           [e.number for e in examples])  # fmt: skip
        return replace(batch, seeds=draw_seeds(rngs)) if self.seeded else batch


def draw_seeds(rngs: Sequence[np.random.Generator]) -> Tensor:
    """(B,) a random number for each example, for what is drawn later."""
    return torch.tensor([int(rng.integers(2**62)) for rng in rngs], dtype=torch.int64)


def pair_batch(framing: Framing, sources: Sequence[Ids], targets: Sequence[Ids], sides: tuple[str, str], term: str,
               numbers: Sequence[int]) -> Batch:  # fmt: skip
    """A batch of framed sources and bare targets of the languages `sides`."""
    ids, lengths = pad(sources, framing.vocab.pad)
    rows = [framing.with_special_tokens(t, sides[1]) for t in targets]
    inputs, read = pad([r[:-1] for r in rows], framing.vocab.pad)
    at = torch.nonzero((torch.arange(inputs.shape[1]) < read[:, None]).flatten())[:, 0]
    labels = torch.from_numpy(np.concatenate([r[1:] for r in rows]))
    return Batch(
        source=Tokens(ids, lengths, language=framing.language_tensor(sides[0], len(rows))),
        target=Tokens(inputs, read, language=framing.language_tensor(sides[1], len(rows))),
        labels={term: Labels(labels, at)},
        counts={term: float(len(labels))},
        example_numbers=torch.tensor(numbers),
    )


class Translate(Objective):
    """Write the target."""

    weights: ClassVar[Mapping[str, float]] = {"translate": 1.0}

    def __init__(self, config: TranslateOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Pairs of lines."""
        source, target = self.context.languages
        return LineDataset(data.pair(split, source, target), max_examples), self.collator()

    def collator(self) -> PairCollator:
        """Adds nothing but frames."""
        source, target = self.context.languages
        noisy = bool(self.options.source_blank or self.options.target_blank)
        return PairCollator(self.context.framing, source, target, "translate", seeded=noisy)

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """In training, blank words."""
        if not self.training or batch.seeds is None:
            return batch
        assert batch.target is not None
        o, seeds = self.options, batch.seeds.tolist()
        source = self._blanked(batch.source, o.source_blank, seeds, 0)
        return replace(batch, source=source, target=self._blanked(batch.target, o.target_blank, seeds, 1))

    def _blanked(self, tokens: Tokens, share: float, seeds: Sequence[int], side: int) -> Tokens:
        if not share:
            return tokens
        vocab, ids = self.context.framing.vocab, tokens.ids
        draws = torch.from_numpy(
            np.stack([np.random.default_rng([seed, side]).random(ids.shape[1]) for seed in seeds])
        ).to(ids.device)
        words = ~torch.isin(ids, torch.tensor(sorted(vocab.special_ids), device=ids.device))
        return replace(tokens, ids=ids.masked_fill(words & (draws < share), vocab.mask))

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy of the target."""
        return {"translate": Term(*sequence_loss(model, batch, "translate", self.options.label_smoothing))}
