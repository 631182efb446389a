"""Adafactor (Shazeer and Stern 2018, algorithms 4 and 5), an optimizer with very little state.

The second moment of a matrix is kept as the means of its rows and of its columns. As with fairseq's defaults,
there is no first moment. The learning rate is that of the schedule, and is not scaled by the size of the
parameters.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from masscli.training.eager_optimizers import EagerOptimizer

DECAY_EXPONENT = -0.8
"""Second moments decay by the factor 1 - t ** DECAY_EXPONENT in update t, counted from 1 (section 7.2)."""
SQUARE_EPS = 1e-30
"""Number that is added to squared gradients, so that no second moment is 0."""
LARGEST_STEP = 1.0
"""Largest root mean square of a step before its multiplication by the learning rate; larger ones are scaled
down (section 6)."""


class Adafactor(EagerOptimizer):
    """Adafactor with an external learning rate.

    A weight may consist of several stacked matrices (queries, keys and values); their number is
    `blocks` of the parameter group. Each matrix has its own factored moments, and its step is clipped
    by itself. The second moments of a vector are not factored.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # there is no closure: a loss is never evaluated again
        """Update, in place, every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        """Update a parameter in place by one step, and its moments in `state`."""
        assert parameter.grad is not None
        is_matrix = parameter.dim() > 1
        # The blocks of a matrix are stacked: (blocks, rows, columns).
        gradient = parameter.grad
        if is_matrix:
            gradient = gradient.view(group["blocks"], -1, gradient.shape[-1])
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            if is_matrix:
                state["exp_avg_sq_row"] = torch.zeros_like(gradient[..., 0])
                state["exp_avg_sq_col"] = torch.zeros_like(gradient[:, 0])
            else:
                state["exp_avg_sq"] = torch.zeros_like(gradient)
        state["step"] += 1
        weight = math.pow(float(state["step"]), DECAY_EXPONENT)
        squares = gradient.square() + SQUARE_EPS
        if is_matrix:
            rows = state["exp_avg_sq_row"].lerp_(squares.mean(-1), weight)
            columns = state["exp_avg_sq_col"].lerp_(squares.mean(-2), weight)
            # The product of both means, divided by the mean of all, approximates the second moment.
            row_factor = (rows / rows.mean(-1, keepdim=True)).rsqrt()
            step = gradient * row_factor[..., None] * columns.rsqrt()[:, None]
            root_mean_square = step.square().mean((1, 2), keepdim=True).sqrt()
        else:
            step = gradient * state["exp_avg_sq"].lerp_(squares, weight).rsqrt()
            root_mean_square = step.square().mean().sqrt()
        step = step / (root_mean_square / LARGEST_STEP).clamp(min=1.0)
        # Weight decay is decoupled, and scaled only by the learning rate.
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(step.view_as(parameter), alpha=-group["lr"])
