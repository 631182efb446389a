"""The padded blocks that the loader sends to a model.

Masks are not part of a batch: padding masks follow from lengths, and causal and document masks are built on
the device.
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
    """A padded block of B rows of L token ids, with everything else that a stack needs to read it."""

    ids: Tensor
    """(B, L)"""
    lengths: Tensor
    """(B,) how many tokens of each row are not padding."""
    positions: Tensor | None = None
    """(B, L) positions; None is 0 to L-1."""
    segments: Tensor | None = None
    """(B, L) segment ids, as BERT's A and B."""
    language: Tensor | None = None
    """(B,) index into the model's language names, or (B, L) where a row holds two languages."""
    cross_attention_mask: Tensor | None = None
    """(B, L) bool: which tokens another stack may attend to. MASS hides [M] from cross-attention."""
    self_attention_mask: Tensor | None = None
    """(B, L) bool: which tokens the same stack may attend to. fairseq's MASS hides [M] here too."""
    documents: Tensor | None = None
    """(B, L) document numbers of packed text; tokens attend only within their own document."""
    steps: Tensor | None = None
    """(B, L) UniLMv2's signed steps, which decide who attends to whom; see masscli/models/masks.py."""

    def to(self, device: torch.device) -> Tokens:
        """Return the same block on another device."""
        # Most blocks have few of the fields, and the others stay None.
        moved = {}
        for name in self.__slots__:
            tensor = getattr(self, name)
            if tensor is not None:
                moved[name] = tensor.to(device, non_blocking=True)
        return replace(self, **moved)


@dataclass(frozen=True, slots=True)
class Labels:
    """The targets of one loss term.

    `ids` (N,) are token ids or values; `positions` (N,) are indices into the flattened (B*L) hidden states.
    """

    ids: Tensor
    positions: Tensor

    def to(self, device: torch.device) -> Labels:
        """Return the same labels on another device."""
        return Labels(self.ids.to(device, non_blocking=True), self.positions.to(device, non_blocking=True))


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch of one training stream and one target language."""

    source: Tokens
    target: Tokens | None
    """What the decoder reads, already shifted; None without a decoder."""
    labels: Mapping[str, Labels]
    """The targets of each loss term."""
    counts: Mapping[str, float]
    """How many targets each loss term has."""
    example_numbers: Tensor
    """(B,) which example of the dataset each row is."""
    seeds: Tensor | None = None
    """(B,) the examples' own seeds, where an objective draws random numbers in `prepare`. They make the draws
    independent of batches and processes."""

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on another device."""
        target = self.target
        if target is not None:
            target = target.to(device)
        return replace(
            self,
            source=self.source.to(device),
            target=target,
            labels={term: labels.to(device) for term, labels in self.labels.items()},
        )


def pad(sequences: Sequence[Ids], fill: int, multiple: int = 1) -> tuple[Tensor, Tensor]:
    """Pad sequences on the right with `fill`; return ids (B, L) and lengths (B,).

    L is at least 1, and a multiple of `multiple`.
    """
    lengths = np.fromiter((len(ids) for ids in sequences), np.int64, len(sequences))
    width = max(1, int(lengths.max(initial=0)))
    width += -width % multiple
    block = np.full((len(sequences), width), fill, np.int64)
    # All real positions are filled at once.
    if sequences:
        block[np.arange(width) < lengths[:, None]] = np.concatenate(sequences)
    return torch.from_numpy(block), torch.from_numpy(lengths)
