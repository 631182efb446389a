"""An exponential moving average of the weights, with which a run is validated and saved.

Update t, counted from 0, changes the average a of the weights w to d a + (1 - d) w, with d = min(decay, (1 +
t) / (10 + t)). At the beginning, where weights change most, the average therefore follows quickly (as in
TensorFlow's ExponentialMovingAverage).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn


class WeightAverage:
    """The moving average of the trained parameters of a run.

    `parameters` maps each parameter to its name, and `values` has the average by name. It begins with the
    present values of the parameters.
    """

    def __init__(self, parameters: Mapping[nn.Parameter, str], decay: float) -> None:
        self.parameters = parameters
        self.decay = decay
        self.values = {
            name: parameter.detach().clone() for parameter, name in parameters.items()
        }

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Move the average towards the present weights, after an update before which `updates` were made."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        weights = [parameter.detach() for parameter in self.parameters]
        # One call for all tensors is faster than one for each.
        torch._foreach_lerp_(list(self.values.values()), weights, 1 - decay)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Exchange the weights and their average within a context, and back at its end.

        Within the context the parameters hold the average, and `values` holds the weights.
        """
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for parameter, name in self.parameters.items():
            parameter.data, self.values[name] = self.values[name], parameter.data
