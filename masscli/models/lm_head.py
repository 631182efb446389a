"""The dense layer, non-linearity and layer norm before the output weights of BERT and its relatives.

The output weights (the token embeddings) and the free bias of each token belong to the model, or to an
objective whose network is discarded after training.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from masscli.models.config import ModelConfig
from masscli.models.linear import LayerNorm, Linear


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Return the activation function that a value of `ModelConfig.activation` names, such as `gelu`."""
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": F.relu,
        "gelu": F.gelu,
        "gelu_tanh": partial(F.gelu, approximate="tanh"),
        "swish": F.silu,
    }
    return functions[name]


class HeadTransform(nn.Module):
    """A dense layer, non-linearity and layer norm between hidden states and the output weights.

    `dim` is the width D of the states, and `width` that of the output weights, E.
    """

    def __init__(self, config: ModelConfig, dim: int, width: int) -> None:
        super().__init__()
        self.dense = Linear(dim, width)
        self.norm = LayerNorm(width, config.norm_eps)
        self.activation = activation(config.activation)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map hidden states (..., D) to vectors (..., E), which the output weights multiply."""
        out: Tensor = self.norm(self.activation(self.dense(hidden)))
        return out
