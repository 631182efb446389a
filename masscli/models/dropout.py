"""Dropout with masks that are fast to sample on a CPU.

PyTorch draws a CPU mask one Bernoulli variable at a time, at about 10 ns each. A random byte costs a
tenth of that, and comparing it with a threshold is one vector instruction. The keep probability is then
a multiple of 1/256, and the scale is its exact inverse, so the expectation is unchanged: p = 0.1
becomes 26/256 = 0.1016, and the smallest p is 1/256. On a GPU the built-in kernel is used.

Masks come from torch's generator of the device, so seeding that generator seeds them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 256
"""Number of values of a random byte."""
INT64_MIN = -(2**63)
"""The smallest 64-bit integer."""


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Return `x` with each element zeroed with probability `p`, and the others scaled by 1 / (1 - p).

    `x` has any shape. It is returned unchanged if `training` is false or `p` is 0. On a CPU, `p` is
    rounded to a multiple of 1/256.
    """
    if p == 0.0 or not training:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    return x * keep_mask(x.shape, p, x.dtype)


def add_dropout(x: Tensor, y: Tensor, p: float, training: bool) -> Tensor:
    """Return `x` plus `dropout(y, p, training)`, in one pass over the numbers on a CPU.

    `x` and `y` have the same shape and dtype. In bf16 and fp16 the pass rounds once, where a product and a
    sum would round twice.
    """
    if p == 0.0 or not training or y.device.type != "cpu":
        return x + dropout(y, p, training)
    return torch.addcmul(x, y, keep_mask(y.shape, p, y.dtype))


def keep_mask(shape: torch.Size, p: float, dtype: torch.dtype) -> Tensor:
    """Return a random dropout mask on the CPU, to multiply with: 0 with probability `p`, else 1 / (1 - p).

    `p` is rounded to a multiple of 1/256, from 1/256 to 255/256. The result has the given shape and dtype.
    """
    kept, scale = draw_kept(shape, p, dtype)
    return kept.mul_(scale)


def draw_kept(shape: torch.Size, p: float, dtype: torch.dtype) -> tuple[Tensor, float]:
    """Draw on the CPU what dropout keeps: 0 with probability `p`, else 1; also return the scale, 1 / (1 - p).

    `p` is rounded to a multiple of 1/256, from 1/256 to 255/256. The first result has the given shape and
    dtype.
    """
    # At least one level is dropped and one is kept.
    threshold = min(LEVELS - 1, max(1, round(p * LEVELS)))
    size = shape.numel()
    # Numbers are drawn over all of int64, so that each of their eight bytes is uniform.
    random_int64 = torch.empty((size + 7) // 8, dtype=torch.int64).random_(
        INT64_MIN, None
    )
    # The comparison is made in place, since bytes of 0 and 1 are cast many times as fast as booleans are.
    kept = random_int64.view(torch.uint8)[:size].view(shape).ge_(threshold)
    return kept.to(dtype), LEVELS / (LEVELS - threshold)
