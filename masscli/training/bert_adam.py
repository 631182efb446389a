"""Adam in the variants with which BERT, ELECTRA, ALBERT (LAMB) and GPT were trained."""

from __future__ import annotations

import math
from typing import Any

import torch

from masscli.training.eager_optimizers import EagerOptimizer
from masscli.training.fsdp import block_norms, local_part


class BertAdam(EagerOptimizer):
    """Adam without bias correction and with decoupled weight decay.

    The update is p -= lr * (m / (sqrt(v) + eps) + decay * p).

    With `layerwise` it is LAMB (You et al. 2020) as ALBERT uses it: the step of each matrix is scaled
    by |p| / |step|. A weight may consist of several stacked matrices (queries, keys and values); their
    number is `blocks` of the parameter group, and each of them has a scale of its own.

    With `corrected` it is the optimizer with which GPT was fine-tuned: the learning rate of update t, and
    with it the decay, is multiplied by sqrt(1 - beta2^t) / (1 - beta1^t).
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        layerwise: bool,
        corrected: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "layerwise": layerwise,
            "corrected": corrected,
        }
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # there is no closure: a loss is never evaluated again
        """Update, in place, every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        """Update a parameter in place by one step, and its moments in `state`."""
        assert parameter.grad is not None
        beta1, beta2 = group["betas"]
        # Moments are created at the first gradient, so that a parameter without one has no state in a
        # checkpoint.
        state = self.state[parameter]
        if not state:
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
            if group["corrected"]:
                state["step"] = torch.zeros(())
        mean = state["exp_avg"].lerp_(parameter.grad, 1 - beta1)
        square = state["exp_avg_sq"]
        square.mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=1 - beta2)
        # As in the released code, epsilon is added to the square root, and the decay is scaled by lr
        # with the rest of the step.
        step = (
            mean / square.sqrt().add_(group["eps"]) + group["weight_decay"] * parameter
        )
        rate = group["lr"]
        if group["corrected"]:
            state["step"] += 1
            count = int(state["step"])
            rate *= math.sqrt(1 - beta2**count) / (1 - beta1**count)
        # Biases and layer norms are left out of LAMB's scaling, as in ALBERT.
        if group["layerwise"] and parameter.dim() > 1:
            weight_norms = block_norms(parameter, group["blocks"])
            step_norms = block_norms(step, group["blocks"])
            # The step of a block is not scaled if its weights or the step are zero.
            usable = (weight_norms > 0) & (step_norms > 0)
            trust = torch.where(usable, weight_norms / step_norms, 1.0).to(step.dtype)
            # The norms are those of the whole matrix, although each process scales only its own rows.
            local_part(step).mul_(trust.view(-1, *[1] * (parameter.dim() - 1)))
        parameter.add_(step, alpha=-rate)
