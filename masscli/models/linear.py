"""A linear layer and a layer norm that compute in the dtype of their input.

Weights are always stored in fp32: they are what the optimizer updates and what a checkpoint holds. With a
bf16 or fp16 input the product runs in that dtype, on a cast of the weights, and gradients come back in fp32.
This is what autocast does, but without a context: the dtype of a tensor says how it was computed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HAS_BF16_KERNELS: bool = (
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and torch.ops.mkldnn._is_mkldnn_bf16_supported()
)
"""Whether oneDNN, by which PyTorch multiplies matrices on a CPU, has kernels for bf16 on this processor."""
SMALLEST_FUSED = 256 * 256
"""The fewest numbers of a weight for which the kernel adds the bias. With smaller ones the time that it saves
is lost in Python."""


class Linear(nn.Linear):
    """`nn.Linear` that computes in the dtype of its input, to which weights and bias are cast."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out), in the dtype of x."""
        weight = self.weight.to(x.dtype)
        bias = self.bias.to(x.dtype)
        if fusing_pays(weight):
            product: Tensor = _FusedLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
            return product
        return F.linear(x, weight, bias)


class _FusedLinear(torch.autograd.Function):
    """`F.linear` of x (..., in), a weight (out, in) and a bias (out,), by oneDNN's kernel on a CPU.

    The kernel adds the bias to each number as it is computed. `F.linear` first fills the result with the
    bias, to which the kernel then adds, and that takes up to an eighth of the time.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        # The last three arguments name a function to be applied to the result: none.
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, weight, bias, "none", [], ""
        )
        return product

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_rows = grad.reshape(-1, grad.shape[-1])
        grad_x = grad_weight = grad_bias = None
        # Layers may be frozen, and so may everything below them.
        if ctx.needs_input_grad[0]:
            grad_x = (grad_rows @ weight).view_as(x)
        if ctx.needs_input_grad[1]:
            grad_weight = grad_rows.t() @ x.reshape(-1, x.shape[-1])
        if ctx.needs_input_grad[2]:
            grad_bias = grad_rows.sum(0)
        return grad_x, grad_weight, grad_bias


def fusing_pays(weight: Tensor) -> bool:
    """Return whether products with this weight (out, in) are faster if their kernel adds the bias."""
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16:
        return False
    return HAS_BF16_KERNELS and weight.numel() >= SMALLEST_FUSED


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` that computes in the dtype of its input, but mean and variance in fp32."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x (..., D) normalized over its last dimension, in its own dtype."""
        weight = self.weight.to(x.dtype)
        bias = self.bias.to(x.dtype)
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)
