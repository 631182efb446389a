"""Dropout whose masks are cheap to draw on a CPU.

PyTorch draws a CPU mask one Bernoulli variable at a time (about 10 ns each); a random byte costs a tenth of that, and comparing it with
a threshold is one vector instruction.  The keep probability is then a multiple of 1/256, and the scale is its exact inverse, so the
expectation is untouched: p = 0.1 becomes 26/256 = 0.1016, and the smallest is 1/256.  On a GPU the built-in kernel is used.

Masks come from torch's generator of the device: seeding it seeds them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_LOW = -(2**63)  # random_ over all of int64, so that each of its eight bytes is uniform


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zero elements of `x` with probability `p`, scale the rest; any shape."""
    if p == 0.0 or not training:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    return x * keep_mask(x.shape, p, x.dtype)


def keep_mask(shape: torch.Size, p: float, dtype: torch.dtype) -> Tensor:
    """A factor for each element on the CPU: 0 with probability `p` (rounded as said above), else 1 / (1 - p)."""
    threshold = min(255, max(1, round(p * 256)))
    size = shape.numel()
    words = torch.empty((size + 7) // 8, dtype=torch.int64).random_(_LOW, None)
    keep = words.view(torch.uint8)[:size].view(shape) >= threshold
    return keep.to(dtype).mul_(256 / (256 - threshold))
