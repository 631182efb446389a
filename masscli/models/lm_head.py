"""What stands between a stack and the output table in BERT and its relatives: dense layer, non-linearity, layer norm.

The table and the free bias of each token belong to the model (or to an objective whose network is thrown away).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from masscli.models.config import ModelConfig
from masscli.models.linear import LayerNorm, Linear


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function of a name of `ModelConfig.activation`."""
    known: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": F.relu,
        "gelu": F.gelu,
        "gelu_tanh": partial(F.gelu, approximate="tanh"),
    }
    return known[name]


class HeadTransform(nn.Module):
    """States (..., D) to vectors (..., E) that are compared with the table."""

    def __init__(self, config: ModelConfig, dim: int, width: int) -> None:
        super().__init__()
        self.dense = Linear(dim, width)
        self.norm = LayerNorm(width, config.norm_eps)
        self.activation = activation(config.activation)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., E)."""
        out: Tensor = self.norm(self.activation(self.dense(hidden)))
        return out
