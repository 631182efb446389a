"""Attention over short texts on a CPU, forward and backward as one step of autograd.

Translation works on sentences of one or two dozen tokens, for which PyTorch's CPU kernels spend most of
their time on overhead: the flash kernel is built for long rows, a softmax over fewer than 16 keys is
not vectorized (ten times the time per number), and each view, cast and transposition is a copy.
Therefore one function here reads the fused projections as they are, copies each once into the layout
that products want, pads the keys to 16, and in the backward pass writes the gradient of the fused
projection directly.

With a bf16 input the products are bf16, too: their results are rounded to bf16, while mask, softmax, dropout
and the gradients of these are fp32, as under PyTorch's autocast. With any other input everything is fp32.

Shapes: B rows, T queries, L keys, P keys with padding, H heads, K head size, D = H*K; G = B*H.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from masscli.models.dropout import keep_mask
from masscli.models.masks import MASKED_SCORE

MIN_KEYS = 16
"""Minimum number of keys after padding: with fewer than the 16 fp32 numbers of an AVX-512 register,
PyTorch's softmax is not vectorized."""


def short_attention(
    fused: Tensor, memory: Tensor | None, heads: int, mask: Tensor | None, p: float
) -> Tensor:
    """Return softmax(q k^T / sqrt(K) + mask) v, (B, T, D), with dropout probability `p` on the weights.

    `fused` (B, T, 3D) holds queries, keys and values. With a `memory` (B, L, 2D), which then holds keys and
    values, `fused` (B, T, D) holds only the queries. `mask` is additive, in fp32, broadcastable to (B, H, T,
    L), and may be learned.
    """
    out: Tensor = _ShortAttention.apply(fused, memory, heads, mask, p)  # type: ignore[no-untyped-call]
    return out


class _ShortAttention(torch.autograd.Function):
    """The autograd function of `short_attention`, with the same arguments."""

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
        q_BHTK, k_BHLK, v_BHLK = split_projections(fused, memory, heads, size)
        keys = k_BHLK.shape[2]
        padding = max(0, MIN_KEYS - keys)
        # Padded keys are masked, so that they get no weight.
        if mask is not None or padding:
            if mask is None:
                mask = torch.zeros(1, 1, 1, keys)
            mask = F.pad(mask, (0, padding), value=MASKED_SCORE)
        softmax_dtype = torch.get_default_dtype()
        q_GTK = copy_for_products(q_BHTK, 0)
        k_GPK = copy_for_products(k_BHLK, padding)
        v_GPK = copy_for_products(v_BHLK, padding)
        # The copy may be scaled in place.
        q_GTK *= size**-0.5
        scores_GTP = torch.bmm(q_GTK, k_GPK.transpose(1, 2)).to(softmax_dtype)
        scores_BHTP = scores_GTP.view(rows, heads, queries, keys + padding)
        if mask is not None:
            scores_BHTP += mask
        weights_BHTP = torch._softmax(scores_BHTP, -1, False)
        keep = None
        dropped_BHTP = weights_BHTP
        # The dropout mask is kept for the backward pass, since the generator has advanced by then.
        if p:
            keep = keep_mask(weights_BHTP.shape, p, weights_BHTP.dtype)
            dropped_BHTP = weights_BHTP * keep
        dropped_GTP = dropped_BHTP.view(-1, queries, keys + padding).to(v_GPK.dtype)
        mixed_GTK = torch.bmm(dropped_GTP, v_GPK)
        mixed_BTHK = mixed_GTK.view(rows, heads, queries, size).transpose(1, 2)

        ctx.save_for_backward(q_GTK, k_GPK, v_GPK, weights_BHTP, keep)
        ctx.has_memory = memory is not None
        ctx.dtype = fused.dtype
        ctx.keys = keys
        # Only a learned mask (relative positions) gets a gradient.
        ctx.mask_shape = None
        if mask is not None and ctx.needs_input_grad[3]:
            ctx.mask_shape = mask.shape
        # One copy transposes and casts.
        out = mixed_BTHK.to(
            fused.dtype, memory_format=torch.contiguous_format, copy=True
        )
        return out.view(rows, queries, heads * size)

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of `fused`, `memory` and a learned `mask`; None for other arguments."""
        q_GTK, k_GPK, v_GPK, weights_BHTP, keep = ctx.saved_tensors
        rows, heads, queries, padded_keys = weights_BHTP.shape
        size = q_GTK.shape[-1]
        grad_mixed_GTK = copy_for_products(
            grad_out.view(rows, queries, heads, size).transpose(1, 2), 0
        )
        # The dropped weights are computed again instead of being kept.
        dropped_BHTP = weights_BHTP
        if keep is not None:
            dropped_BHTP = weights_BHTP * keep
        dropped_GTP = dropped_BHTP.view(-1, queries, padded_keys).to(v_GPK.dtype)
        grad_v_GPK = torch.bmm(dropped_GTP.transpose(1, 2), grad_mixed_GTK)
        grad_weights_GTP = torch.bmm(grad_mixed_GTK, v_GPK.transpose(1, 2))
        grad_weights_BHTP = grad_weights_GTP.view_as(weights_BHTP).to(
            weights_BHTP.dtype
        )
        if keep is not None:
            grad_weights_BHTP *= keep
        # Gradients of the scores, then of queries and keys.
        grad_scores_BHTP = torch._softmax_backward_data(
            grad_weights_BHTP, weights_BHTP, -1, weights_BHTP.dtype
        )
        grad_mask = None
        if ctx.mask_shape is not None:
            # The gradient of a broadcast mask is the sum over the dimensions along which it was broadcast.
            grad_mask = grad_scores_BHTP.sum_to_size(ctx.mask_shape)[..., : ctx.keys]
        grad_scores_GTP = grad_scores_BHTP.view(-1, queries, padded_keys).to(
            k_GPK.dtype
        )
        # The saved queries are scaled already, so the gradient of the keys needs no factor.
        grad_q_GTK = torch.bmm(grad_scores_GTP, k_GPK).mul_(size**-0.5)
        grad_k_GPK = torch.bmm(grad_scores_GTP.transpose(1, 2), q_GTK)

        grad_q_BHTK = grad_q_GTK.view(rows, heads, queries, size)
        grad_k_BHLK = grad_k_GPK.view(rows, heads, -1, size)[:, :, : ctx.keys]
        grad_v_BHLK = grad_v_GPK.view(rows, heads, -1, size)[:, :, : ctx.keys]
        if ctx.has_memory:
            grad_fused = _fuse([grad_q_BHTK], ctx.dtype)
            grad_memory = _fuse([grad_k_BHLK, grad_v_BHLK], ctx.dtype)
        else:
            grad_fused = _fuse([grad_q_BHTK, grad_k_BHLK, grad_v_BHLK], ctx.dtype)
            grad_memory = None
        return grad_fused, grad_memory, None, grad_mask, None


def split_projections(
    fused: Tensor, memory: Tensor | None, heads: int, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries (B, H, T, K), keys and values (B, H, L, K) as views of the projections; `size` is K.

    Without `memory`, `fused` (B, T, 3D) holds all three; otherwise it holds the queries (B, T, D), and
    `memory` (B, L, 2D) the keys and values.
    """
    from_fused = fused.view(*fused.shape[:2], -1, heads, size).permute(2, 0, 3, 1, 4)
    if memory is None:
        q, k, v = from_fused
        return q, k, v
    k, v = memory.view(*memory.shape[:2], 2, heads, size).permute(2, 0, 3, 1, 4)
    return from_fused[0], k, v


def copy_for_products(x: Tensor, padding: int) -> Tensor:
    """Copy x (B, H, L, K), of any layout, to (B*H, L + padding, K), with zeros at the end.

    The result is bf16 if x is, and fp32 otherwise.
    """
    rows, heads, length, size = x.shape
    dtype = torch.get_default_dtype()
    if x.dtype == torch.bfloat16:
        dtype = torch.bfloat16
    # Writing into a new block casts, transposes and pads in one pass.
    out = torch.empty(rows, heads, length + padding, size, dtype=dtype)
    out[:, :, :length] = x
    out[:, :, length:] = 0.0
    return out.view(-1, length + padding, size)


def _fuse(parts: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Copy N tensors (B, H, L, K) into one (B, L, N*H*K) of `dtype`, the layout of a fused projection."""
    rows, heads, length, size = parts[0].shape
    out = torch.empty(rows, length, len(parts), heads, size, dtype=dtype)
    for i, part in enumerate(parts):
        out[:, :, i] = part.transpose(1, 2)
    return out.view(rows, length, -1)
