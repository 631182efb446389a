"""Output projection and cross-entropy in one, a chunk of rows at a time.

The logits of a whole batch never exist.  A chunk's logits are made in one buffer, turned in place into the gradient of the loss (softmax
minus target) and multiplied straight into the gradients of hidden states and weights; the backward pass only scales them.  Label smoothing
is Szegedy et al.'s (2016, section 7): the target distribution is (1 - eps) on the label plus eps / V on every token.

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
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, smoothing: float, learn: bool
    ) -> tuple[Tensor, Tensor]:
        rows, size = hidden.shape[0], weight.shape[0]
        matrix = weight.to(hidden.dtype)
        step = max(1, (CHUNK if hidden.device.type == "cpu" else 16 * CHUNK) // size)
        nll = torch.zeros((), dtype=torch.float64 if hidden.device.type == "cpu" else torch.float32, device=hidden.device)
        uniform = torch.zeros_like(nll)
        grads = None
        if learn:
            grads = (
                torch.empty_like(hidden),
                torch.zeros_like(weight, dtype=torch.float32),
                torch.zeros_like(bias, dtype=torch.float32) if bias is not None else None,
            )
        buffer = hidden.new_empty(min(step, rows), size)
        for start in range(0, rows, step):
            part, wanted = hidden[start : start + step], labels[start : start + step, None]
            logits = torch.mm(part, matrix.t(), out=buffer[: part.shape[0]]).float()
            if bias is not None:
                logits += bias
            if smoothing:
                uniform -= logits.mean(-1).sum(dtype=nll.dtype)
                at_label = logits.gather(1, wanted)
            logp = logits.log_softmax(-1)
            chosen = logp.gather(1, wanted)
            nll -= chosen.sum(dtype=nll.dtype)
            if smoothing:  # mean log p = mean logit - log Z, and log Z = logit - log p of any token
                uniform += (at_label - chosen).sum(dtype=nll.dtype)
            if grads is None:
                continue
            slope = logp.exp_()
            if smoothing:
                slope -= smoothing / size
            slope.scatter_add_(1, wanted, slope.new_full((part.shape[0], 1), smoothing - 1.0))
            if grads[2] is not None:
                grads[2].add_(slope.sum(0))
            slope = slope.to(hidden.dtype)
            torch.mm(slope, matrix, out=grads[0][start : start + step])
            if slope.dtype == torch.float32:
                grads[1].addmm_(slope.t(), part)
            else:
                grads[1].add_(slope.t() @ part)
        ctx.grads = grads
        nll, uniform = nll.float(), uniform.float()
        return (1 - smoothing) * nll + smoothing * uniform, nll

    @staticmethod
    def backward(ctx: Any, loss: Tensor, nll: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = ctx.grads
        return hidden.mul_(loss.to(hidden.dtype)), weight.mul_(loss), bias.mul_(loss) if bias is not None else None, None, None, None


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
