"""Output projection and cross-entropy in one, a chunk of rows at a time.

The logits of a whole batch never exist, and none are ever fp32 in a bf16 run.  A chunk's logits z are made in one buffer, their softmax p
in another, which becomes the gradient of the loss (p minus target) and is multiplied straight into the gradients of hidden states and
weights; the backward pass only scales them.  Kernels of the softmax and products keep their sums in fp32.

    nll = sum log Z - z[label],   log Z = max z - log max p     (max p is at least 1 / V, so that nothing underflows)

Label smoothing is Szegedy et al.'s (2016, section 7): the target distribution is (1 - eps) on the label plus eps / V on every token.  What
it adds is linear in the logits, sum_v z_v = h . sum_v w_v, and so is its gradient: neither needs to touch the logits again.

The loss scale of fp16 reaches the gradient in the backward pass, after it was rounded: a probability below 3e-8 counts as 0 there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 2**21  # logits held at a time: 8 MiB in fp32, which stays in a cache; GPUs take sixteen times as many


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        smoothing: float,
        learn: bool,
    ) -> tuple[Tensor, Tensor]:
        rows, size = hidden.shape[0], weight.shape[0]
        matrix, shift = weight.to(hidden.dtype), bias.to(hidden.dtype) if bias is not None else None
        step = min(max(1, (CHUNK if hidden.device.type == "cpu" else 16 * CHUNK) // size), max(1, rows))
        precise = torch.float64 if hidden.device.type == "cpu" else torch.float32
        normalizers = torch.zeros((), dtype=precise, device=hidden.device)
        at_labels = torch.zeros_like(normalizers)
        grads = None
        if learn:
            of_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None else None
            grads = torch.empty_like(hidden), torch.zeros_like(weight, dtype=torch.float32), of_bias
        buffers = hidden.new_empty(2, step, size)
        for start in range(0, rows, step):
            part, wanted = hidden[start : start + step], labels[start : start + step, None]
            logits, slope = buffers[0, : part.shape[0]], buffers[1, : part.shape[0]]
            if shift is None:
                torch.mm(part, matrix.t(), out=logits)
            else:
                torch.addmm(shift, part, matrix.t(), out=logits)
            torch.ops.aten._softmax.out(logits, -1, False, out=slope)
            normalizers += (logits.amax(-1).float() - slope.amax(-1).float().log()).sum(dtype=precise)
            at_labels += logits.gather(1, wanted).sum(dtype=precise)
            if grads is None:
                continue
            slope.scatter_add_(1, wanted, slope.new_full((part.shape[0], 1), smoothing - 1.0))
            if grads[2] is not None:
                grads[2].add_(slope.sum(0, dtype=torch.float32))
            torch.mm(slope, matrix, out=grads[0][start : start + step])
            if slope.dtype == torch.float32:
                grads[1].addmm_(slope.t(), part)
            else:
                grads[1].add_(slope.t() @ part)
        nll = (normalizers - at_labels).float()
        ctx.grads = grads
        if not smoothing:
            return nll, nll.clone()
        total, every = hidden.sum(0, dtype=torch.float32), weight.sum(0, dtype=torch.float32)
        of_all = (total @ every + (rows * bias.sum() if bias is not None else 0.0)) / size
        if grads is not None:
            grads[0].sub_(every.mul(smoothing / size).to(hidden.dtype))
            grads[1].sub_(total, alpha=smoothing / size)
            if grads[2] is not None:
                grads[2].sub_(smoothing * rows / size)
        return (1 - smoothing) * nll + smoothing * (normalizers.float() - of_all), nll

    @staticmethod
    def backward(ctx: Any, loss: Tensor, nll: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = ctx.grads
        return (
            hidden.mul_(loss.to(hidden.dtype)),
            weight.mul_(loss),
            bias.mul_(loss) if bias is not None else None,
            None,
            None,
            None,
        )


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy of `hidden` (N, D) times `weight` (V, D) against `labels` (N,), and the plain negative log-likelihood.

    The first value carries the gradient (label smoothing included), the second is for reports; both are fp32 scalars in nats.  Only
    usable once per forward pass: the gradient is scaled in place.
    """
    learn = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    loss, nll = _LinearCrossEntropy.apply(hidden, weight, bias, labels, smoothing, learn)  # type: ignore[no-untyped-call]
    return loss, nll.detach()
