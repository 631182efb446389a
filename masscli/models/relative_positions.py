"""Relative positions as in T5 (Raffel et al. 2020, section 2.1).

One learned scalar for each bucket of distances and each head is added to the attention scores of every layer.
As in UniLMv2, distances are those of positions, so that a token and its copies have distance 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from masscli.data.batches.batch import Tokens
from masscli.models.config import ModelConfig


class RelativeBias(nn.Module):
    """The learned bias of attention scores for each bucket of relative positions and each head of a stack."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.buckets = config.relative_buckets
        self.max_distance = config.relative_distance
        self.table = nn.Embedding(config.relative_buckets, config.heads)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return the additive bias (B, H, T, L), in fp32, for positions of queries (B, T) and keys (B, L)."""
        distances = keys[:, None] - queries[:, :, None]
        bias: Tensor = self.table(bucket(distances, self.buckets, self.max_distance))
        # Masks are fp32, even if the whole model was cast for inference.
        return bias.permute(0, 3, 1, 2).float()

    def add_to(self, mask: Tensor | None, tokens: Tokens) -> Tensor:
        """Return the bias (B or 1, H, L, L) of self-attention in `tokens`, plus `mask` if that is not None.

        Positions are those of `tokens.positions`, or 0 to L-1 if they are None. `mask` itself is not changed.
        """
        positions = tokens.positions
        if positions is None:
            positions = torch.arange(tokens.ids.shape[1], device=tokens.ids.device)[
                None
            ]
        bias: Tensor = self(positions, positions)
        if mask is None:
            return bias
        return bias + mask


def bucket(distance: Tensor, buckets: int, max_distance: int) -> Tensor:
    """Return the number of the bucket, from 0 to `buckets` - 1, of each relative position (of any shape).

    A relative position is a key's position minus a query's. The lower half of the buckets is for keys up to
    the query, the upper half for keys after it. In each half, small distances have a bucket of their own;
    then buckets become logarithmically wider up to `max_distance`, beyond which all share the last one.
    """
    half = buckets // 2
    # Half of each direction's buckets are exact.
    exact = half // 2
    size = distance.abs()
    # float64 keeps distances at a boundary in the same bucket on every device.
    log_ratio = torch.log(size.clamp(min=1).double() / exact) / math.log(
        max_distance / exact
    )
    wide = exact + (log_ratio * (half - exact)).long()
    # As in T5, keys after the query have the upper half.
    direction = torch.where(distance > 0, half, 0)
    return direction + torch.where(size < exact, size, wide.clamp(max=half - 1))
