"""A linear layer and a layer norm that compute in the type of their input.

Weights are always stored in fp32: they are what the optimizer updates and what a checkpoint holds.  A bf16 or fp16 input makes the
product run in that type, on a cast of the weights; gradients come back in fp32.  This is what autocast does, made visible: one rule, no
context, and the type of a tensor says how it was computed.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Linear):
    """`nn.Linear` in the type of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return F.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` in the type of its input (its sums are fp32 all the same)."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return F.layer_norm(
            x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps
        )
