"""Deterministic top-k: the k best of many scores, ordered by score and then by lowest index.

`torch.topk` leaves open which of several equal scores it returns, and equal scores are common in bf16. Here
every score becomes a 64-bit integer that also holds its index, so there are no ties, on any device and in a
batch of any size.

Shapes: S sentences, W rows each, V vocabulary size, M scores of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
"""How many neighboring scores form a block, of which only the maximum is compared at first."""
LOW_BITS = 0xFFFFFFFF
"""The mask of the low 32 bits of a 64-bit key, which hold an index."""


def best_in_rows(
    offsets: Tensor, scores: Tensor, k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for each sentence, the k largest sums of an offset (S, W) and a score (S, W, V) of a row.

    The result is (sums, rows, columns), each (S, k), best first; (S, W * V) if there are fewer than k. All
    S * W * V scores are read once, to find the maximum of each block of 64; the k best sums lie in the k
    blocks with the best maxima (of equal ones, the first).
    """
    s, w, v = scores.shape
    maxima = block_maxima(scores)
    blocks = maxima.shape[2]
    # An offset is the same for all scores of a row, so it can be added just to the maxima.
    best_of_blocks = (maxima + offsets[..., None]).flatten(1)
    _, chosen = best(best_of_blocks, min(k, w * blocks))
    # Blocks in order of their index keep the candidates below in that order, too.
    chosen = chosen.sort().values
    row = chosen // blocks
    # (S, k, BLOCK): the columns of the chosen blocks. The last block may reach beyond the vocabulary.
    column = (chosen % blocks)[..., None] * BLOCK + torch.arange(
        BLOCK, device=scores.device
    )
    beyond = column >= v
    # Clamped indices stay inside the scores; what they fetch is masked below.
    column = column.clamp(max=v - 1)
    sentence = torch.arange(s, device=scores.device)[:, None]
    flat_index = ((sentence * w + row) * v)[..., None] + column
    # index_select is many times faster than indexing with three tensors.
    candidates = (
        scores.flatten().index_select(0, flat_index.flatten()).view_as(flat_index)
    )
    candidates = (candidates + offsets.gather(1, row)[..., None]).masked_fill_(
        beyond, -torch.inf
    )
    sums, index = best(candidates.flatten(1), min(k, w * v))
    rows = row.gather(1, index // BLOCK)
    columns = column.flatten(1).gather(1, index)
    return sums, rows, columns


def block_maxima(scores: Tensor) -> Tensor:
    """Return the maximum of each block of 64 neighboring scores: (S, W, V) to (S, W, ceil(V / 64))."""
    s, w, v = scores.shape
    full_blocks = v // BLOCK
    end = full_blocks * BLOCK
    # The last block may be shorter, and its maximum is taken separately.
    maxima = scores[..., :end].view(s, w, full_blocks, BLOCK).amax(-1)
    if end == v:
        return maxima
    return torch.cat([maxima, scores[..., end:].amax(-1, keepdim=True)], 2)


def best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k best float32 scores of each row of (S, M), and their indices: (S, k) each, best first.

    Of equal scores the one with the lowest index comes first.
    """
    # Adding 0.0 turns -0.0 into 0.0, so that both are equal as integers.
    bits = (scores + 0.0).view(torch.int32)
    # Integers in the order of the floats: the bits below the sign of a negative float count down.
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    # The low bits count down, so that of equal scores the lowest index has the largest key.
    index_bits = LOW_BITS - torch.arange(scores.shape[1], device=scores.device)
    keys = (ordered.long() << 32) | index_bits
    index = LOW_BITS - (keys.topk(k).values & LOW_BITS)
    return scores.gather(1, index), index
