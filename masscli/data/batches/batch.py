"""The padded blocks that travel from the loader to a model.

Nothing dense is shipped: padding follows from lengths, causal and document masks are built on the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tokens:
    """One padded block of ids, and all that a stack needs to read it.

    ids (B, L); lengths (B,); positions (B, L), default 0..L-1; segments (B, L), BERT's A and B; language (B,), index into the model's
    language names; keys (B, L) bool, which tokens may be attended to from outside (MASS hides [M] from cross-attention); sees (B, L)
    bool, which tokens may be attended to from inside the same stack (the fairseq variant of MASS hides [M] here too); documents (B, L),
    packing: attend only within one's own document; steps (B, L), UniLMv2's signed steps, from which the attention rule follows
    (masscli/models/masks.py).  language may be (B, L) where a row holds two languages.
    """

    ids: Tensor
    lengths: Tensor
    positions: Tensor | None = None
    segments: Tensor | None = None
    language: Tensor | None = None
    cross_attention_mask: Tensor | None = None
    self_attention_mask: Tensor | None = None
    documents: Tensor | None = None
    steps: Tensor | None = None

    def to(self, device: torch.device) -> Tokens:
        """The same block on another device."""
        moved = {
            k: v.to(device, non_blocking=True) for k in self.__slots__ if (v := getattr(self, k)) is not None
        }
        return replace(self, **moved)


@dataclass(frozen=True, slots=True)
class Labels:
    """What one loss term is computed on: `ids` (N,) or values, at `positions` (N,) of the flattened (B*L) hidden states."""

    ids: Tensor
    positions: Tensor

    def to(self, device: torch.device) -> Labels:
        """The same labels on another device."""
        return Labels(self.ids.to(device, non_blocking=True), self.positions.to(device, non_blocking=True))


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch of one stream and one target language.

    `counts` are the targets of each loss term; `rows` (B,) says which example of the view each line is; `seeds` (B,), where an objective
    draws random numbers in `prepare`, are the examples' own, so that these depend on neither batches nor processes.
    """

    source: Tokens
    target: Tokens | None
    labels: Mapping[str, Labels]
    counts: Mapping[str, float]
    example_numbers: Tensor
    seeds: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return replace(
            self,
            source=self.source.to(device),
            target=self.target.to(device) if self.target is not None else None,
            labels={k: v.to(device) for k, v in self.labels.items()},
        )


def pad(lines: Sequence[Ids], fill: int) -> tuple[Tensor, Tensor]:
    """Right-pad ragged int arrays: (ids (B, L), lengths (B,))."""
    lengths = np.fromiter((len(x) for x in lines), np.int64, len(lines))
    block = np.full((len(lines), max(1, int(lengths.max(initial=0)))), fill, np.int64)
    block[np.arange(block.shape[1]) < lengths[:, None]] = np.concatenate(lines) if lines else 0
    return torch.from_numpy(block), torch.from_numpy(lengths)
