"""The padded blocks that the loader sends to a model.

Attention masks are not part of a batch: padding masks follow from lengths, and causal and document masks are
built on the device.
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
    """The input of an encoder or a decoder: a padded block of B rows of L token ids.

    The optional fields are None where the model or the objective does not need them.
    """

    ids: Tensor
    """(B, L) token ids, padded on the right."""
    lengths: Tensor
    """(B,) number of tokens of each row without padding."""
    positions: Tensor | None = None
    """(B, L) position of each token; None stands for 0 to L-1 in each row."""
    segments: Tensor | None = None
    """(B, L) segment id of each token, 0 and 1 for BERT's segments A and B."""
    language: Tensor | None = None
    """(B,) index into the model's languages for each row, or (B, L) for each token where a row holds two."""
    cross_attention_mask: Tensor | None = None
    """(B, L) bool: True for tokens that a decoder may attend to by cross-attention. MASS hides [M] from
    it."""
    self_attention_mask: Tensor | None = None
    """(B, L) bool: True for tokens that self-attention may attend to. fairseq's MASS hides [M] here too."""
    documents: Tensor | None = None
    """(B, L) document numbers of packed text; tokens attend only within their own document."""
    steps: Tensor | None = None
    """(B, L) signed step of each token in UniLMv2's order of prediction, which decides which tokens attend to
    which; see masscli/models/masks.py."""

    def to(self, device: torch.device) -> Tokens:
        """Return a copy of the block whose tensors are on another device."""
        # Most blocks have few of the fields, and the others stay None.
        moved = {}
        for name in self.__slots__:
            tensor = getattr(self, name)
            if tensor is not None:
                moved[name] = tensor.to(device, non_blocking=True)
        return replace(self, **moved)


@dataclass(frozen=True, slots=True)
class Labels:
    """The targets of one loss term, of which there are N.

    `ids` (N,) are token ids, or other values to predict; `positions` (N,) are indices into the flattened
    (B*L) hidden states from which they are predicted.
    """

    ids: Tensor
    positions: Tensor

    def to(self, device: torch.device) -> Labels:
        """Return a copy of the labels on another device."""
        return Labels(
            self.ids.to(device, non_blocking=True),
            self.positions.to(device, non_blocking=True),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch: examples of one training stream and of one target language."""

    source: Tokens
    target: Tokens | None
    """What the decoder reads, already shifted right; None for a model without a decoder."""
    labels: Mapping[str, Labels]
    """The targets of each loss term, by the name of the term."""
    counts: Mapping[str, float]
    """The number of targets of each loss term, by the name of the term."""
    example_numbers: Tensor
    """(N,) number, in the dataset, of each of the N examples. An example has several rows if it has several
    sequences, such as the choices of a question."""
    seeds: Tensor | None = None
    """(B,) a random seed for each example, if the objective draws random numbers in `prepare`. They make the
    draws independent of batches and processes."""

    def to(self, device: torch.device) -> Batch:
        """Return a copy of the batch with source, target and labels on another device.

        `example_numbers` and `seeds` stay where they are.
        """
        target = self.target
        if target is not None:
            target = target.to(device)
        return replace(
            self,
            source=self.source.to(device),
            target=target,
            labels={term: labels.to(device) for term, labels in self.labels.items()},
        )


def pad(
    sequences: Sequence[Ids], fill: int, multiple: int = 1
) -> tuple[Tensor, Tensor]:
    """Pad sequences on the right with `fill`; return the block (B, L) and the lengths (B,) before padding.

    L is the longest length, rounded up to a multiple of `multiple`, and at least 1.
    """
    lengths = np.fromiter((len(ids) for ids in sequences), np.int64, len(sequences))
    width = max(1, int(lengths.max(initial=0)))
    width += -width % multiple
    block = np.full((len(sequences), width), fill, np.int64)
    # All real positions are filled at once.
    if sequences:
        block[np.arange(width) < lengths[:, None]] = np.concatenate(sequences)
    return torch.from_numpy(block), torch.from_numpy(lengths)
