"""Sequence to sequence over pairs with an encoder alone, by pseudo-masks.

See masscli/objectives/shared/pseudo_masking.py.

The tasks `summarize` and `respond`, which learn from tables, use the same masks if the model has no decoder.
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
from masscli.objectives.shared.pseudo_masking import (
    PseudoMaskingCollator,
    pseudo_mask_loss,
    uncorrupt,
)
from masscli.objectives.unilm.options import PseudoMaskedOptions


class SourceAndPairDataset:
    """Pairs of sentences with two sizes: that of the source, and that of source and target together.

    The second size is at least the number of positions that an encoder needs to read both as one sequence.
    """

    def __init__(self, pairs: LineDataset) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the sizes of source, and of source and target together, in tokens: (stop - start, 2).

        Pseudo-masks are not counted, since they share positions with the tokens that they predict;
        `PseudoMasked.batch_lengths` counts them.
        """
        lengths = self.pairs.sizes(start, stop)
        return np.stack([lengths[:, 0], lengths.sum(1)], 1)

    def __getitem__(self, number: int) -> Example:
        return self.pairs[number]


class PseudoMasked(Objective):
    """Sequence to sequence by an encoder alone: predict the target at its pseudo-masks."""

    weights: ClassVar[Mapping[str, float]] = {"s2s": 1.0}

    def __init__(self, config: PseudoMaskedOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config
        # The model gets the language of the target.
        _, target = context.languages
        self._collator = PseudoMaskingCollator.create(config, context, target, "s2s")

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the first `max_examples` sentence pairs (default: all) of a split, and their collator."""
        source, target = self.context.languages
        pairs = LineDataset(data.pair(split, source, target), max_examples)
        return SourceAndPairDataset(pairs), self.collator()

    def collator(self) -> PseudoMaskingCollator:
        """Return the collator, which makes batches of pairs with pseudo-masks."""
        return self._collator

    def batch_lengths(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the largest number of tokens (N,) that examples of these sizes (N, 2) take up in a batch.

        These are source and target, and a pseudo-mask for each target token and for the end of the target.
        """
        source, both = sizes.T
        # The size of the target has room for a symbol at both ends, so it is never below its pseudo-masks.
        lengths: NDArray[np.int64] = both + (both - source)
        return lengths

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """Return the batch unchanged in training, and without corrupted targets in validation."""
        # Corruption is only for training: with it, a perplexity would not be that of generation.
        if self.training:
            return batch
        return uncorrupt(batch, "s2s")

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the cross-entropy of the target tokens, predicted at their pseudo-masks, summed."""
        return {
            "s2s": pseudo_mask_loss(model, batch, "s2s", self.options.label_smoothing)
        }
