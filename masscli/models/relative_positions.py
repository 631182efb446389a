"""Relative positions as T5 has them (Raffel et al. 2020, section 2.1): one learned scalar per bucket of distances and head, added to the
scores of every layer.  UniLMv2 takes distances from positions, so that a token and its copies are at distance 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from masscli.data.batches.batch import Tokens
from masscli.models.config import ModelConfig


class RelativeBias(nn.Module):
    """A table (buckets, heads) of biases."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.buckets, self.distance = config.relative_buckets, config.relative_distance
        self.table = nn.Embedding(config.relative_buckets, config.heads)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The bias (B, H, T, L) for positions (B, T) of queries and (B, L) of keys."""
        out: Tensor = self.table(bucket(keys[:, None] - queries[:, :, None], self.buckets, self.distance))
        return out.permute(0, 3, 1, 2).float()

    def add_to(self, mask: Tensor | None, tokens: Tokens) -> Tensor:
        """The mask of a bidirectional text, with the bias of its positions."""
        positions = tokens.positions
        if positions is None:
            positions = torch.arange(tokens.ids.shape[1], device=tokens.ids.device)[None]
        bias: Tensor = self(positions, positions)
        return bias if mask is None else bias + mask


def bucket(distance: Tensor, buckets: int, most: int) -> Tensor:
    """Bucket of a key's position minus a query's: half of the buckets for those behind, half for those ahead; in each half one for each
    small distance, and then logarithmically wider ones up to `most`."""
    half = buckets // 2
    near = half // 2
    size = distance.abs()
    wide = (
        near + (torch.log(size.clamp(min=1).double() / near) / math.log(most / near) * (half - near)).long()
    )
    return torch.where(distance > 0, half, 0) + torch.where(size < near, size, wide.clamp(max=half - 1))
