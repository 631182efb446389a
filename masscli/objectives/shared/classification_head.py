"""The layers that turn hidden states into scores of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.models.dropout import dropout
from masscli.models.linear import Linear
from masscli.objectives.shared.table_options import TableOptions

INIT_STD = 0.02
"""Standard deviation of initial weights (Devlin et al. 2019)."""

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "relu": F.relu,
}
"""The function between the two layers of a head, by the value of --head."""


class ClassificationHead(nn.Module):
    """A head that maps hidden states of width `dim` to a number of scores, `outputs`.

    It is one linear layer, or two of them with tanh, GELU or ReLU in between, as --head says. It computes in
    fp32, with dropout before each layer.
    """

    def __init__(self, options: TableOptions, dim: int, outputs: int) -> None:
        super().__init__()
        self.activation = _ACTIVATIONS.get(options.head)
        self.dropout = options.dropout
        self.dense = None if self.activation is None else Linear(dim, dim)
        self.out = Linear(dim, outputs)
        # Heads are drawn as BERT draws them, whatever the model's own initial weights are.
        for layer in (self.dense, self.out):
            if layer is not None:
                nn.init.normal_(layer.weight, 0, INIT_STD)
                nn.init.zeros_(layer.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Return scores (..., outputs) of hidden states (..., dim)."""
        x = dropout(states.float(), self.dropout, self.training)
        if self.dense is not None and self.activation is not None:
            x = self.activation(self.dense(x))
            x = dropout(x, self.dropout, self.training)
        scores: Tensor = self.out(x)
        return scores
