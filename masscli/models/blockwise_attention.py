"""Attention in bf16 on a CPU, some rows and heads at a time, forward and backward as one step of autograd.

PyTorch's flash kernel takes 1.5 to 2 times as long on a CPU. Here scores, weights and their gradients are
bf16; each kernel computes in fp32 and rounds its result. A block of them is small enough to stay in the
processor's cache. In the backward pass the weights of long texts are computed again, so that memory does not
grow with the square of the length, unless there is dropout on the weights.

Shapes: B rows, T queries, L keys, H heads, K head size, D = H*K; of one block: b rows, h heads, g = b*h.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from masscli.models.dropout import draw_kept
from masscli.models.short_attention import copy_for_products, split_projections

MIN_KEYS = 64
"""Minimum number of keys for which this is faster than `masscli.models.short_attention`: twice the 32
bf16 numbers of an AVX-512 register, since the remainder at the end of a row is not vectorized."""
MAX_KEYS = 2048
"""Maximum number of keys: the scores of one head of such a text take 8 MiB."""
MAX_KEPT = 256
"""Maximum number of keys for which the attention weights are kept for the backward pass."""
BLOCK_NUMBERS = 2**20
"""Maximum number of scores in a block, unless a single head has more: 2 MiB."""

Block = tuple[slice, slice]
"""Which rows and which heads."""


def blockwise_attention(
    fused: Tensor, memory: Tensor | None, heads: int, mask: Tensor | None, p: float
) -> Tensor:
    """Return softmax(q k^T / sqrt(K) + mask) v, (B, T, D), with dropout probability `p` on the weights.

    `fused` (B, T, 3D) holds queries, keys and values, in bf16. With a `memory` (B, L, 2D), which then holds
    keys and values, `fused` (B, T, D) holds only the queries. `mask` is additive, in fp32, broadcastable to
    (B, H, T, L), and may be learned. The function is fastest with L from MIN_KEYS to MAX_KEYS.
    """
    out: Tensor = _BlockwiseAttention.apply(fused, memory, heads, mask, p)  # type: ignore[no-untyped-call]
    return out


class _BlockwiseAttention(torch.autograd.Function):
    """The autograd function of `blockwise_attention`, with the same arguments."""

    @staticmethod
    def forward(
        ctx: Any,
        fused: Tensor,
        memory: Tensor | None,
        heads: int,
        mask: Tensor | None,
        p: float,
    ) -> Tensor:
        """Compute the attention, and save what the backward pass needs."""
        rows, queries, width = fused.shape
        size = width // heads
        if memory is None:
            # `fused` holds queries, keys and values.
            size //= 3
        q, k, v = (
            copy_for_products(part, 0).view(rows, heads, -1, size)
            for part in split_projections(fused, memory, heads, size)
        )
        # The copy may be scaled in place.
        q *= size**-0.5
        shape = torch.Size((rows, heads, queries, k.shape[2]))
        if mask is not None:
            mask = mask.to(fused.dtype)
        # Weights that are needed in the backward pass are written directly to the saved buffer.
        weights = None
        if shape[3] <= MAX_KEPT:
            weights = fused.new_empty(shape)
        kept = None
        scale = 1.0
        if p:
            kept, scale = draw_kept(shape, p, fused.dtype)
        out = fused.new_empty(rows, queries, heads, size)
        for block in _blocks(shape):
            weights_gTL = _attention_weights(q, k, mask, block, weights)
            if kept is not None:
                weights_gTL = weights_gTL * kept[block].flatten(0, 1)
            mixed_gTK = torch.bmm(weights_gTL, v[block].flatten(0, 1))
            if kept is not None:
                mixed_gTK *= scale
            out.transpose(1, 2)[block] = mixed_gTK.view_as(q[block])

        ctx.save_for_backward(q, k, v, mask, weights, kept)
        ctx.scale = scale
        ctx.has_memory = memory is not None
        return out.flatten(2)

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of `fused`, `memory` and a learned `mask`; None for other arguments."""
        q, k, v, mask, weights, kept = ctx.saved_tensors
        rows, heads, queries, size = q.shape
        keys = k.shape[2]
        grad_mixed = grad_out.view(rows, queries, heads, size).transpose(1, 2)
        # Gradients are written in the layout of the projections, (B, T, 3, H, K) if they are fused.
        if ctx.has_memory:
            grad_fused = q.new_empty(rows, queries, 1, heads, size)
            grad_memory = q.new_empty(rows, keys, 2, heads, size)
            parts = (*grad_fused.unbind(2), *grad_memory.unbind(2))
        else:
            grad_fused = q.new_empty(rows, queries, 3, heads, size)
            grad_memory = None
            parts = grad_fused.unbind(2)
        grad_q, grad_k, grad_v = (part.transpose(1, 2) for part in parts)
        # Only a learned mask (relative positions) gets a gradient.
        grad_mask = None
        if mask is not None and ctx.needs_input_grad[3]:
            grad_mask = torch.zeros(mask.shape)
        for block in _blocks(torch.Size((rows, heads, queries, keys))):
            if weights is None:
                weights_gTL = _attention_weights(q, k, mask, block, None)
            else:
                weights_gTL = weights[block].flatten(0, 1)
            kept_gTL = None
            if kept is not None:
                kept_gTL = kept[block].flatten(0, 1)
            grad_v_gLK, grad_scores_gTL = _backward_to_scores(
                grad_mixed[block].flatten(0, 1),
                v[block].flatten(0, 1),
                weights_gTL,
                kept_gTL,
                ctx.scale,
            )
            grad_q_gTK = torch.bmm(grad_scores_gTL, k[block].flatten(0, 1))
            grad_q_gTK *= size**-0.5
            # The saved queries are scaled already, so the gradient of the keys needs no factor.
            grad_k_gLK = torch.bmm(
                grad_scores_gTL.transpose(1, 2), q[block].flatten(0, 1)
            )
            grad_q[block] = grad_q_gTK.view_as(q[block])
            grad_k[block] = grad_k_gLK.view_as(k[block])
            grad_v[block] = grad_v_gLK.view_as(v[block])
            if grad_mask is not None:
                block_shape = (*q[block].shape[:2], queries, keys)
                _add_to_mask(grad_mask, block, grad_scores_gTL.view(block_shape))
        if grad_memory is not None:
            grad_memory = grad_memory.flatten(2)
        return grad_fused.flatten(2), grad_memory, None, grad_mask, None


def _attention_weights(
    q: Tensor, k: Tensor, mask: Tensor | None, block: Block, weights: Tensor | None
) -> Tensor:
    """Return softmax(q k^T + mask), (g, T, L), of a block of q (B, H, T, K) and k (B, H, L, K).

    `mask` is broadcastable to (B, H, T, L). If `weights` (B, H, T, L) are given, the result is written into
    them, and is a view of its block.
    """
    q_gTK = q[block].flatten(0, 1)
    k_gKL = k[block].flatten(0, 1).transpose(1, 2)
    if weights is None:
        scores_gTL = torch.bmm(q_gTK, k_gKL)
    else:
        scores_gTL = weights[block].flatten(0, 1)
        torch.bmm(q_gTK, k_gKL, out=scores_gTL)
    if mask is not None:
        scores_bhTL = scores_gTL.view(*q[block].shape[:2], *scores_gTL.shape[1:])
        scores_bhTL += _part_of_mask(mask, block)
    # The softmax of each row is computed in place.
    torch.ops.aten._softmax.out(scores_gTL, -1, False, out=scores_gTL)
    return scores_gTL


def _backward_to_scores(
    grad_mixed_gTK: Tensor,
    v_gLK: Tensor,
    weights_gTL: Tensor,
    kept_gTL: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the values (g, L, K) and of the scores (g, T, L) of a block.

    `grad_mixed_gTK` is the gradient of the block's output. `kept_gTL` is the dropout mask of zeros and
    ones, and `scale` the factor on the kept weights; they are None and 1 without dropout.
    """
    dropped_gTL = weights_gTL
    if kept_gTL is not None:
        # Both gradients are computed from this one, so the scale reaches both.
        grad_mixed_gTK = grad_mixed_gTK * scale
        dropped_gTL = weights_gTL * kept_gTL
    grad_v_gLK = torch.bmm(dropped_gTL.transpose(1, 2), grad_mixed_gTK)
    grad_weights_gTL = torch.bmm(grad_mixed_gTK, v_gLK.transpose(1, 2))
    if kept_gTL is not None:
        grad_weights_gTL *= kept_gTL
    grad_scores_gTL = torch._softmax_backward_data(
        grad_weights_gTL, weights_gTL, -1, weights_gTL.dtype
    )
    return grad_v_gLK, grad_scores_gTL


def _part_of_mask(mask: Tensor, block: Block) -> Tensor:
    """Return the view of a mask, broadcastable to (B, H, T, L), that belongs to a block of rows and heads."""
    rows, heads = block
    if mask.shape[0] > 1:
        mask = mask[rows]
    if mask.shape[1] > 1:
        mask = mask[:, heads]
    return mask


def _add_to_mask(grad_mask: Tensor, block: Block, grad_scores_bhTL: Tensor) -> None:
    """Add the gradient of the scores of a block to that of a learned mask, in place.

    `grad_mask` is fp32 and has the shape of the mask, broadcastable to (B, H, T, L).
    """
    grad_part = _part_of_mask(grad_mask, block)
    # The gradient of a broadcast mask is the sum over the dimensions along which it was broadcast.
    grad_part += grad_scores_bhTL.float().sum_to_size(grad_part.shape)


def _blocks(shape: torch.Size) -> Iterator[Block]:
    """Yield blocks of rows and heads of scores of a shape (B, H, T, L): whole rows, or some heads of one row.

    A block has at most BLOCK_NUMBERS scores, unless one head has more.
    """
    rows, heads, queries, keys = shape
    of_head = queries * keys
    heads_at_once = min(heads, max(1, BLOCK_NUMBERS // of_head))
    rows_at_once = max(1, BLOCK_NUMBERS // (of_head * heads))
    for row in range(0, rows, rows_at_once):
        for head in range(0, heads, heads_at_once):
            yield slice(row, row + rows_at_once), slice(head, head + heads_at_once)
