"""The k best of many scores, exactly and always the same: by score, then by lowest index.

`torch.topk` leaves open which of several equal scores it returns, and equal scores are common in bf16.  Here every score becomes a 64-bit
integer that also holds its index, so there are no ties, on any device and in a batch of any size.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
LOW = 0xFFFFFFFF


def best_in_rows(offsets: Tensor, scores: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k best of `offsets[s, w] + scores[s, w, v]` in each sentence s: sums, rows w and columns v, each (S, k), best first.

    Reads the S * W * V scores once, to find the maximum of each block of 64; the k best sums lie in the k blocks with the best maxima (of
    equal ones the first).
    """
    s, w, v = scores.shape
    tops = maxima(scores)
    blocks = tops.shape[2]
    _, chosen = best((tops + offsets[..., None]).flatten(1), min(k, w * blocks))
    chosen = chosen.sort().values  # in order of index, so that positions below are, too
    row = chosen // blocks
    column = (chosen % blocks)[..., None] * BLOCK + torch.arange(BLOCK, device=scores.device)  # (S, k, BLOCK)
    beyond, column = column >= v, column.clamp(max=v - 1)
    sentence = torch.arange(s, device=scores.device)[:, None]
    at = ((sentence * w + row) * v)[..., None] + column
    found = (
        scores.flatten().index_select(0, at.flatten()).view_as(at)
    )  # many times faster than indexing with three tensors
    found = (found + offsets.gather(1, row)[..., None]).masked_fill_(beyond, -torch.inf)
    sums, at = best(found.flatten(1), min(k, w * v))
    return sums, row.gather(1, at // BLOCK), column.flatten(1).gather(1, at)


def maxima(scores: Tensor) -> Tensor:
    """The maximum of each block: (S, W, V) -> (S, W, ceil(V / BLOCK))."""
    s, w, v = scores.shape
    whole = v // BLOCK
    tops = scores[..., : whole * BLOCK].view(s, w, whole, BLOCK).amax(-1)
    return (
        tops
        if whole * BLOCK == v
        else torch.cat([tops, scores[..., whole * BLOCK :].amax(-1, keepdim=True)], 2)
    )


def best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best of each row of float32 `scores` (S, M): values and indices (S, k), best first, of equal ones the first."""
    bits = (scores + 0.0).view(torch.int32)  # + 0.0: there is but one zero
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the floats
    keys = (ordered.long() << 32) | (LOW - torch.arange(scores.shape[1], device=scores.device))
    index = LOW - (keys.topk(k).values & LOW)
    return scores.gather(1, index), index
