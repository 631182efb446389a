"""A linear layer and a layer norm that compute in the dtype of their input.

Weights are always stored in fp32: they are what the optimizer updates and what a checkpoint holds. With a
bf16 or fp16 input the product runs in that dtype, on a cast of the weights, and gradients come back in fp32.
This is what autocast does, but without a context: the dtype of a tensor says how it was computed.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Linear):
    """`nn.Linear` that computes in the dtype of its input, to which weights and bias are cast."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out), in the dtype of x."""
        return F.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` that computes in the dtype of its input, but mean and variance in fp32."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x (..., D) normalized over its last dimension, in its own dtype."""
        weight = self.weight.to(x.dtype)
        bias = self.bias.to(x.dtype)
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)
