"""Attention over short texts on a CPU, forward and backward in one step of autograd.

Translation works on sentences of a dozen or two tokens, where PyTorch's CPU kernels spend their time on everything but arithmetic: the
flash kernel is built for long rows, a softmax over fewer than 16 keys leaves the vector units (ten times the time per number), batched
products of such sizes are slower in bf16 than in fp32, and each view, cast and transposition is a copy.  So here one function reads the
fused projections as they are, copies each once into the fp32 layout that products want, pads the keys to 16, and in the backward pass
writes the gradient of the fused projection directly.  Sums are fp32 whatever the type of the input.

Shapes: B rows, T queries, L keys, H heads, K head size, D = H*K.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from masscli.models.dropout import keep_mask

LANES = 16  # fewer keys than this (an AVX-512 register of fp32) and PyTorch's softmax is not vectorized
MASKED_SCORE = -1e30  # the score of a padded key


class _ShortAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, fused: Tensor, memory: Tensor | None, heads: int, mask: Tensor | None, p: float
    ) -> Tensor:
        rows, queries, width = fused.shape
        size = width // heads // (1 if memory is not None else 3)
        q, k, v = _projections(fused, memory, heads, size)
        keys = k.shape[2]
        pad = max(0, LANES - keys)
        if mask is not None or pad:
            mask = F.pad(
                mask if mask is not None else torch.zeros(1, 1, 1, keys), (0, pad), value=MASKED_SCORE
            )
        q, k, v = (_laid_out(x, extra) for x, extra in ((q, 0), (k, pad), (v, pad)))
        q *= size**-0.5
        scores = torch.bmm(q, k.transpose(1, 2)).view(rows, heads, queries, keys + pad)
        if mask is not None:
            scores += mask
        weights = torch._softmax(scores, -1, False)
        keep = keep_mask(weights.shape, p, weights.dtype) if p else None
        used = weights * keep if keep is not None else weights
        mixed = torch.bmm(used.view(-1, queries, keys + pad), v).view(rows, heads, queries, size)
        ctx.save_for_backward(q, k, v, weights, keep)
        ctx.memory, ctx.dtype, ctx.keys = memory is not None, fused.dtype, keys
        ctx.mask = mask.shape if mask is not None and ctx.needs_input_grad[3] else None
        return (
            mixed.transpose(1, 2)
            .to(fused.dtype, memory_format=torch.contiguous_format, copy=True)
            .view(rows, queries, heads * size)
        )

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, keep = ctx.saved_tensors
        rows, heads, queries, padded = weights.shape
        keys, size = ctx.keys, q.shape[-1]
        above = _laid_out(slope.view(rows, queries, heads, size).transpose(1, 2), 0)
        used = weights * keep if keep is not None else weights
        values = torch.bmm(used.view(-1, queries, padded).transpose(1, 2), above)
        of_weights = torch.bmm(above, v.transpose(1, 2)).view_as(weights)
        if keep is not None:
            of_weights *= keep
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_mask = of_scores.sum_to_size(ctx.mask)[..., :keys] if ctx.mask is not None else None
        flat = of_scores.view(-1, queries, padded)
        from_q = torch.bmm(flat, k).mul_(size**-0.5)
        from_k = torch.bmm(flat.transpose(1, 2), q)
        parts = [x.view(rows, heads, -1, size)[:, :, :keys] for x in (from_k, values)]
        if ctx.memory:
            return (
                _gather([from_q.view(rows, heads, queries, size)], ctx.dtype),
                _gather(parts, ctx.dtype),
                None,
                of_mask,
                None,
            )
        return (
            _gather([from_q.view(rows, heads, queries, size), *parts], ctx.dtype),
            None,
            None,
            of_mask,
            None,
        )


def short_attention(
    fused: Tensor, memory: Tensor | None, heads: int, mask: Tensor | None, p: float
) -> Tensor:
    """softmax(q k^T / sqrt(K) + mask) v, with dropout `p` on the weights: (B, T, D).

    `fused` (B, T, 3D) holds queries, keys and values; or, with a `memory` (B, L, 2D) that holds keys and values, the queries (B, T, D).
    `mask` is additive fp32, broadcastable to (B, H, T, L), and may be learned.
    """
    out: Tensor = _ShortAttention.apply(fused, memory, heads, mask, p)  # type: ignore[no-untyped-call]
    return out


def _projections(
    fused: Tensor, memory: Tensor | None, heads: int, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, views (B, H, T or L, K)."""
    q, *rest = fused.view(*fused.shape[:2], -1, heads, size).permute(2, 0, 3, 1, 4)
    k, v = rest if memory is None else memory.view(*memory.shape[:2], 2, heads, size).permute(2, 0, 3, 1, 4)
    return q, k, v


def _laid_out(x: Tensor, pad: int) -> Tensor:
    """(B, H, L, K) of any layout and type -> a copy (B*H, L + pad, K) in fp32, zeros in the padding."""
    rows, heads, length, size = x.shape
    out = torch.empty(rows, heads, length + pad, size)
    out[:, :, :length] = x
    out[:, :, length:] = 0.0
    return out.view(-1, length + pad, size)


def _gather(parts: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Parts (B, H, L, K) -> (B, L, N*H*K), the layout of a fused projection."""
    rows, heads, length, size = parts[0].shape
    out = torch.empty(rows, length, len(parts), heads, size, dtype=dtype)
    for i, part in enumerate(parts):
        out[:, :, i] = part.transpose(1, 2)
    return out.view(rows, length, -1)
