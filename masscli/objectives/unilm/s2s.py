"""Sequence to sequence over pairs with an encoder alone, by pseudo-masks (see masscli/objectives/shared/pseudo_masking.py).

Tables of labelled examples are written from by `summarize` and `respond`, which use the same masks where the model has no decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.pseudo_masking import PseudoCollator, pseudo_loss, undone
from masscli.objectives.unilm.options import PseudoMaskedOptions


class Joined:
    """Pairs of lines; the sizes are those of the source, and of source and target together, which the model must have positions for."""

    def __init__(self, pairs: LineDataset) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """(rows, 2)."""
        both = self.pairs.sizes(start, stop)
        return np.stack([both[:, 0], both.sum(1)], 1)

    def __getitem__(self, row: int) -> Example:
        return self.pairs[row]


class PseudoMasked(Objective):
    """Write the target at its pseudo-masks."""

    weights: ClassVar[Mapping[str, float]] = {"s2s": 1.0}

    def __init__(self, config: PseudoMaskedOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config
        self.laid_out = PseudoCollator.of(config, context, context.languages[1], "s2s")

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Pairs of lines."""
        source, target = self.context.languages
        return Joined(LineDataset(data.pair(split, source, target), max_examples)), self.collator()

    def collator(self) -> PseudoCollator:
        """Lays out the copies; the language told to the model is the target's."""
        return self.laid_out

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """Validation sees the target as it is."""
        return batch if self.training else undone(batch, "s2s")

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy at the pseudo-masks."""
        return {"s2s": pseudo_loss(model, batch, "s2s", self.options.label_smoothing)}
