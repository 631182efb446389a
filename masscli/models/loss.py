"""Output projection and cross-entropy in one function, a chunk of rows at a time.

The logits of a whole batch never exist, and none are ever fp32 in a bf16 run. A chunk's logits z are computed
in a buffer, and on a CPU their softmax p in the same one. It becomes the gradient of the loss, p minus the
target, and is multiplied straight into the gradients of hidden states and weights; the backward pass only
scales these. The kernels of softmax and products keep their sums in fp32.

    nll = - sum log p[label],   log Z = z[label] - log p[label]

A probability that is too small for the dtype of the logits would be rounded to zero. Rows whose label
has such a probability are rare; their logits are computed again, and their softmax in fp32.

Label smoothing is that of Szegedy et al. (2016, section 7): the target distribution is (1 - eps) on the label
plus eps / V on every token. What it adds is linear in the logits, sum_v z_v = h . sum_v w_v, and so is its
gradient, so neither needs to touch the logits again.

The loss scale of fp16 reaches the gradient in the backward pass, after the gradient was rounded: a
probability below 3e-8 counts as 0 there.

Shapes: N rows, D width, V vocabulary size, C rows of a chunk, R rows with an unlikely label.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK_BYTES = 2**24
"""Bytes of logits in memory at a time on a CPU: 16 MiB, which fit into the processor's cache. Smaller
chunks would be slower, since each adds a product to the gradient of all weights."""
GPU_CHUNKS = 4
"""Multiple of CHUNK_BYTES of logits in memory at a time on a GPU."""
CAST_NUMBERS = 2**18
"""Number of elements of a bf16 product that are added to an fp32 sum at a time on a CPU: their fp32
copies, 1 MiB, fit into the processor's cache."""


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy with label smoothing, and the negative log-likelihood, of `labels` (N,).

    Both are sums over the labels, in nats, as fp32 scalars. The logits are `hidden` (N, D) times `weight` (V,
    D) transposed, plus `bias` (V,). Only the first result carries a gradient; the second is for reports. Only
    one backward pass is possible, since it scales the gradient in place.
    """
    # The gradient is computed in the forward pass, so the forward pass must know whether it is needed.
    needs_gradient = torch.is_grad_enabled() and (
        hidden.requires_grad or weight.requires_grad
    )
    loss, nll = _LinearCrossEntropy.apply(
        hidden, weight, bias, labels, smoothing, needs_gradient
    )  # type: ignore[no-untyped-call]
    return loss, nll.detach()


class _Gradients:
    """The gradients of hidden states (N, D), weights (V, D) and bias (V,), added up over chunks of rows.

    They are not initialized: the chunk that begins with row 0 is written, and all others are added to it.
    """

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        # Every row of hidden states is in one chunk and written once; weights and bias are sums over chunks.
        self.hidden = torch.empty_like(hidden)
        self.weight = torch.empty_like(weight, dtype=torch.float32)
        self.bias: Tensor | None = None
        if bias is not None:
            self.bias = torch.zeros_like(bias, dtype=torch.float32)
        # A buffer for the product of one chunk. fp32 matrices need none: their kernel adds to the sum.
        self.product: Tensor | None = None
        if hidden.dtype != torch.float32:
            self.product = torch.empty_like(weight, dtype=hidden.dtype)

    def add_chunk(
        self, start: int, hidden_CD: Tensor, grad_CV: Tensor, weight: Tensor
    ) -> None:
        """Add what one chunk of C rows contributes to the gradients, in place.

        `hidden_CD` are its hidden states, the rows from `start` on, and `grad_CV` is the gradient of its
        logits. `weight` (V, D) are the output weights in the dtype of the hidden states.
        """
        if self.bias is not None:
            self.bias.add_(grad_CV.sum(0, dtype=torch.float32))
        torch.mm(grad_CV, weight, out=self.hidden[start : start + len(hidden_CD)])
        if self.product is None:
            # With a factor of 0, what the sum held before is not read.
            self.weight.addmm_(grad_CV.t(), hidden_CD, beta=float(start > 0))
            return
        torch.mm(grad_CV.t(), hidden_CD, out=self.product)
        if start == 0:
            self.weight.copy_(self.product)
        else:
            _add_cast(self.weight, self.product)

    def add_smoothing(
        self, smoothing: float, hidden_sum: Tensor, weight_sum: Tensor
    ) -> None:
        """Add to the gradients, in place, what follows from giving each token the target probability eps / V.

        eps is `smoothing`, `hidden_sum` (D,) the sum of the hidden states of all rows, and `weight_sum` (D,)
        the sum of the weights of all V tokens.
        """
        rows = self.hidden.shape[0]
        vocab_size = self.weight.shape[0]
        self.hidden.sub_(weight_sum.mul(smoothing / vocab_size).to(self.hidden.dtype))
        self.weight.sub_(hidden_sum, alpha=smoothing / vocab_size)
        if self.bias is not None:
            self.bias.sub_(smoothing * rows / vocab_size)


class _LinearCrossEntropy(torch.autograd.Function):
    """The autograd function of `linear_cross_entropy`, whose forward pass computes the gradients already."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        smoothing: float,
        needs_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        """Return (loss, negative log-likelihood), both summed; the latter is without label smoothing."""
        rows = hidden.shape[0]
        vocab_size = weight.shape[0]
        chunk_rows = _chunk_rows(hidden, vocab_size)
        # Sums over a whole batch are exact in float64; a GPU is slow at it.
        on_cpu = hidden.device.type == "cpu"
        sum_dtype = torch.float64 if on_cpu else torch.float32
        # The weights are cast once for all chunks.
        cast_weight = weight.to(hidden.dtype)
        cast_bias = bias.to(hidden.dtype) if bias is not None else None
        label_logits = hidden.new_empty(rows, dtype=sum_dtype)
        label_probs = torch.empty_like(label_logits)
        gradients: _Gradients | None = None
        if needs_gradient:
            gradients = _Gradients(hidden, weight, bias)
        # The same buffers serve all chunks. On a CPU the softmax is computed in place.
        buffers = hidden.new_empty(1 if on_cpu else 2, chunk_rows, vocab_size)
        # An empty batch is an empty chunk, which sets the gradients to 0.
        for start in range(0, max(1, rows), chunk_rows):
            hidden_CD = hidden[start : start + chunk_rows]
            labels_C = labels[start : start + chunk_rows]
            size = hidden_CD.shape[0]
            logits_CV = buffers[0, :size]
            probs_CV = buffers[-1, :size]
            _write_logits(hidden_CD, cast_weight, cast_bias, logits_CV)
            rows_C = torch.arange(size, device=hidden.device)
            label_logits[start : start + size] = logits_CV[rows_C, labels_C]
            torch.ops.aten._softmax.out(logits_CV, -1, False, out=probs_CV)
            label_probs[start : start + size] = probs_CV[rows_C, labels_C]
            if gradients is not None:
                # The buffer of probabilities becomes the gradient of the logits.
                grad_CV = probs_CV
                # On a CPU, `scatter_add_` would copy the whole buffer.
                grad_CV[rows_C, labels_C] -= 1.0 - smoothing
                gradients.add_chunk(start, hidden_CD, grad_CV, cast_weight)

        # The backward pass scales the gradients in place, so they are plain attributes, not saved tensors.
        ctx.gradients = gradients
        nll_N = -label_probs.log()
        unlikely = label_probs < torch.finfo(hidden.dtype).smallest_normal
        # Fewer rows at a time, since their logits are cast to fp32.
        for rows_R in torch.split(unlikely.nonzero()[:, 0], max(1, chunk_rows // 4)):
            logits_RV = F.linear(hidden[rows_R], cast_weight, cast_bias).float()
            nll_R = F.cross_entropy(logits_RV, labels[rows_R], reduction="none")
            nll_N[rows_R] = nll_R.to(sum_dtype)
        log_normalizers = nll_N.sum() + label_logits.sum()
        nll = nll_N.sum().float()
        if not smoothing:
            return nll, nll.clone()
        # The sum of all logits follows from the sums of hidden states and weights.
        hidden_sum = hidden.sum(0, dtype=torch.float32)
        weight_sum = weight.sum(0, dtype=torch.float32)
        all_logits = hidden_sum @ weight_sum
        if bias is not None:
            all_logits = all_logits + rows * bias.sum()
        mean_logits = all_logits / vocab_size
        if gradients is not None:
            gradients.add_smoothing(smoothing, hidden_sum, weight_sum)
        # The cross-entropy with the uniform distribution is log Z minus the mean logit.
        loss = (1 - smoothing) * nll + smoothing * (
            log_normalizers.float() - mean_logits
        )
        return loss, nll

    @staticmethod
    def backward(
        ctx: Any, grad_loss: Tensor, grad_nll: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of the hidden states, the weights and the bias; None for other arguments."""
        # The gradients are those of a loss with gradient 1, and are scaled in place to save a copy of each.
        grad_hidden = ctx.gradients.hidden
        grad_weight = ctx.gradients.weight
        grad_bias = ctx.gradients.bias
        # Autograd adds other gradients of the same weights in place if it holds the only reference.
        ctx.gradients = None
        grad_hidden.mul_(grad_loss.to(grad_hidden.dtype))
        grad_weight.mul_(grad_loss)
        if grad_bias is not None:
            grad_bias.mul_(grad_loss)
        return grad_hidden, grad_weight, grad_bias, None, None, None


def _write_logits(
    hidden_CD: Tensor, weight: Tensor, bias: Tensor | None, logits_CV: Tensor
) -> None:
    """Write the logits (C, V) of hidden states (C, D) into the buffer `logits_CV`, without another buffer."""
    if bias is None:
        torch.mm(hidden_CD, weight.t(), out=logits_CV)
    else:
        torch.addmm(bias, hidden_CD, weight.t(), out=logits_CV)


def _add_cast(total: Tensor, product: Tensor) -> None:
    """Add `product`, which is bf16 or fp16, to the fp32 sum `total` in place; both are (V, D).

    PyTorch makes an fp32 copy first, so a CPU adds some rows at a time.
    """
    vocab_size, width = total.shape
    rows = vocab_size
    if total.device.type == "cpu":
        rows = max(1, CAST_NUMBERS // width)
    for part, part_product in zip(
        torch.split(total, rows), torch.split(product, rows), strict=True
    ):
        part.add_(part_product)


def _chunk_rows(hidden: Tensor, vocab_size: int) -> int:
    """Return how many rows of `hidden` (N, D) to process at a time, at least 1.

    Their logits are at most CHUNK_BYTES, or GPU_CHUNKS times as many on a GPU, unless one row has more.
    """
    chunk_bytes = CHUNK_BYTES
    if hidden.device.type != "cpu":
        chunk_bytes *= GPU_CHUNKS
    chunk_rows = chunk_bytes // (vocab_size * hidden.element_size())
    # A vocabulary above the chunk still gets one row, and an empty batch a buffer of one row.
    return min(max(1, chunk_rows), max(1, hidden.shape[0]))
