"""An exponential moving average of the weights, which is what a run is validated with and used by others.

After update t, counted from 0, an average a of weights w becomes d a + (1 - d) w, with
d = min(decay, (1 + t) / (10 + t)): at the beginning, where weights change most, the average follows quickly
(as in TensorFlow's ExponentialMovingAverage).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn


class WeightAverage:
    """The average of the trained parameters of a run, by name.

    `parameters` maps each parameter to its name; the average begins with their present values.
    """

    def __init__(self, parameters: Mapping[nn.Parameter, str], decay: float) -> None:
        self.parameters = parameters
        self.decay = decay
        self.values = {name: parameter.detach().clone() for parameter, name in parameters.items()}

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Follow the weights after an update, of which `updates` were made so far."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        weights = [parameter.detach() for parameter in self.parameters]
        torch._foreach_lerp_(list(self.values.values()), weights, 1 - decay)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Exchange the weights and their average: the model has the average, and `values` the weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for parameter, name in self.parameters.items():
            parameter.data, self.values[name] = self.values[name], parameter.data
