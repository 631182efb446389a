"""Find mutual nearest neighbors in two sets of vectors, by a similarity that avoids hubs.

CSLS is "cross-domain similarity local scaling" (Conneau et al. 2018, equation 6).

Shapes: N and M vectors of width D.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEIGHBORS = 10
"""Number of nearest neighbors over which the mean cosine is taken; a high mean marks a hub."""


def csls(a: Tensor, b: Tensor) -> Tensor:
    """Return 2 cos(x, y) - r(x) - r(y) for vectors of length 1, `a` (N, D) and `b` (M, D): (N, M).

    x is a row of `a`, y a row of `b`, and r the mean cosine of a vector with its 10 nearest neighbors in the
    other set.
    """
    # Vectors of length 1: their products are cosines.
    cosine = a @ b.T
    hubness_a = cosine.topk(min(NEIGHBORS, cosine.shape[1]), 1).values.mean(1)
    hubness_b = cosine.topk(min(NEIGHBORS, cosine.shape[0]), 0).values.mean(0)
    return 2 * cosine - hubness_a[:, None] - hubness_b


def mutual_nearest(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pairs of a row and a column of scores (N, M) that have their highest score with each other.

    The result is the row numbers, ascending, and the column numbers of the pairs.
    """
    best_column = scores.argmax(1)
    best_row = scores.argmax(0)
    # A row is kept if the best column of the row has this row as its best.
    rows = torch.nonzero(best_row[best_column] == torch.arange(len(best_column)))[:, 0]
    return rows, best_column[rows]


def mutual_nearest_pairs(scores: Tensor) -> list[tuple[int, int]]:
    """Return the (row, column) pairs of scores (N, M) that score highest with each other, by row."""
    rows, columns = mutual_nearest(scores)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))
