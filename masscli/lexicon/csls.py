"""Which vectors of two sets are each other's nearest, by a similarity that hubs do not win (Conneau et al. 2018, equation 6)."""

from __future__ import annotations

import torch
from torch import Tensor

NEAR = 10


def csls(a: Tensor, b: Tensor) -> Tensor:
    """2 cos(x, y) - r(x) - r(y), r the mean cosine with the nearest of the other side (Conneau et al. 2018, equation 6)."""
    cosine = a @ b.T
    near = [cosine.topk(min(NEAR, cosine.shape[dim]), dim).values.mean(dim) for dim in (1, 0)]
    return 2 * cosine - near[0][:, None] - near[1]


def mutual(score: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns that are each other's best, by row."""
    there, back = score.argmax(1), score.argmax(0)
    rows = torch.nonzero(back[there] == torch.arange(len(there)))[:, 0]
    return rows, there[rows]


def pairs(score: Tensor) -> list[tuple[int, int]]:
    """The same as a list."""
    rows, columns = mutual(score)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))
