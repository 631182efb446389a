"""One update of the parameters: gradient, clipping, step of the optimizer, and errors of a failing run.

A run fails if a gradient is not finite, or if its loss stays far above the initial loss. The errors
name the examples that may be responsible, and the checkpoint to continue from.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.core.listing import list_some
from masscli.training.frozen_rows import FrozenRows
from masscli.training.fsdp import local_part, total_norm
from masscli.training.gradients import Gradients
from masscli.training.metric_averager import MetricAverager
from masscli.training.micro_batches import UpdateBatches
from masscli.training.run_parts import RunParts

DIVERGENCE_PATIENCE = 50
"""A run is aborted after so many consecutive updates with a loss above twice that of the first update, or
above twice that of a uniform guess if this is higher."""

MOST_SUSPECTS = 8
"""Maximum number of micro-batches, and of examples in each, that the error about a non-finite gradient
names."""


class ParameterUpdater:
    """Updates the parameters of a run, and aborts a run that has failed.

    The step, targets, positions and overflows in the state of the run are changed by each update.
    `what_remains` returns the hint for errors that says from where the run can be continued.
    """

    def __init__(
        self,
        parts: RunParts,
        gradients: Gradients,
        frozen_rows: FrozenRows,
        what_remains: Callable[[], str],
    ) -> None:
        self.recipe = parts.recipe
        self.model = parts.model
        self.parameter_names = parts.parameter_names
        self.optimizer = parts.optimizer
        self.loss_scale = parts.loss_scale
        self.weight_average = parts.weight_average
        self.state = parts.state
        self.device = parts.device
        self.gradients = gradients
        self.frozen_rows = frozen_rows
        self.what_remains = what_remains
        self._first_loss: float | None = None
        self._updates_far_above = 0

    def make_update(
        self,
        batches: UpdateBatches,
        averager: MetricAverager,
        lr: float,
    ) -> float:
        """Make one update of the parameters, and return the norm of its gradient before clipping.

        The results are added to `averager` and to the state of the run. In fp16, a gradient that overflows
        lowers the loss scale and leaves the parameters as they are. Otherwise a gradient that is not finite
        raises MasscliError.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        loss_sums, target_counts = self.gradients.compute(batches.prepared)
        self.frozen_rows.clear_gradients()
        grad_norm = self.gradient_norm()
        # One norm tells whether any gradient anywhere is infinite or not a number.
        finite = math.isfinite(grad_norm)
        if finite:
            self._clip_and_step(grad_norm)
            self.loss_scale.record_success()
        elif self.loss_scale.enabled:
            self._skip_overflow()
        else:
            self._fail(loss_sums, target_counts, grad_norm)
        self.optimizer.zero_grad(set_to_none=True)
        # A skipped update counts as well, so that its batches are consumed in every process.
        self.state.step += 1
        for batch in batches.planned:
            self.state.positions[batch.stream] = batch.next_position
        if finite:
            self.state.targets += int(target_counts.sum())
            self._check_divergence(loss_sums, target_counts)
            averager.add(loss_sums, target_counts, batches.prepared)
        return grad_norm

    def gradient_norm(self) -> float:
        """Return the L2 norm of the gradient of all trained parameters, with the loss scale divided out."""
        return (
            total_norm(self._present_gradients(), self.device) / self.loss_scale.value
        )

    def _present_gradients(self) -> list[Tensor]:
        """Return the gradients of those trained parameters that have one."""
        return [p.grad for p in self.parameter_names if p.grad is not None]

    def _clip_and_step(self, grad_norm: float) -> None:
        """Divide the gradient by the loss scale, clip it at `--clip-norm`, and update the parameters.

        `grad_norm` is the norm of the gradient with the loss scale divided out. The moving average of the
        weights (`--ema-decay`) is updated as well.
        """
        clip_norm = self.recipe.optim.clip_norm
        # The small number is that of torch's clip_grad_norm_ and fairseq.
        clip_factor = min(1.0, clip_norm / (grad_norm + 1e-6)) if clip_norm else 1.0
        # Clipping and the loss scale are one factor, so gradients are multiplied once or not at all.
        factor = clip_factor / self.loss_scale.value
        if factor != 1.0:
            torch._foreach_mul_(
                [local_part(g) for g in self._present_gradients()], factor
            )
        self.optimizer.step()
        self.frozen_rows.restore()
        if self.weight_average is not None:
            self.weight_average.update(self.state.step)

    def _skip_overflow(self) -> None:
        """Count an overflow of fp16 and lower the loss scale.

        Raises MasscliError if the scale falls below `--min-loss-scale`.
        """
        self.loss_scale.record_overflow()
        self.state.overflows += 1
        smallest = self.recipe.train.min_loss_scale
        if self.loss_scale.value < smallest:
            raise MasscliError(
                f"update {self.state.step + 1}: the loss scale fell below {smallest}: "
                "gradients overflow fp16",
                f"lower --lr, or begin another run with --bf16; {self.what_remains()}",
            )

    def _fail(self, loss_sums: Tensor, target_counts: Tensor, grad_norm: float) -> None:
        """Raise MasscliError, because the gradient is not finite.

        The message has the norm of the gradient, the losses, the first tensor with a bad gradient, and
        the examples that may be responsible. All processes must call this together.
        """
        first_bad = "none"
        for parameter, name in self.parameter_names.items():
            if parameter.grad is not None and not bool(
                torch.isfinite(local_part(parameter.grad)).all()
            ):
                first_bad = name
                break
        losses = []
        for term, loss in self.gradients.mean_losses(loss_sums, target_counts).items():
            losses.append(f"{term} {loss:.3g}")
        raise MasscliError(
            f"update {self.state.step + 1}: the gradient is {grad_norm} "
            f"(losses: {', '.join(losses)}; first bad tensor: {first_bad}; {self._suspects()})",
            f"lower --lr or set --clip-norm; {self.what_remains()}",
        )

    def _suspects(self) -> str:
        """Return a text that names the examples which may have caused a gradient that is not finite.

        These are the examples of the micro-batches of this process whose loss is not finite, or of all its
        micro-batches if all losses are finite. At most `MOST_SUSPECTS` micro-batches, and as many examples of
        each, are named.
        """
        suspects = [
            planned
            for planned, loss in self.gradients.micro_losses
            if not bool(loss.isfinite())
        ]
        if not suspects:
            suspects = [planned for planned, _ in self.gradients.micro_losses]
        named = []
        for planned in suspects:
            numbers = list_some(planned.numbers.tolist(), MOST_SUSPECTS)
            named.append(f"{planned.stream} {numbers} of epoch {planned.epoch}")
        return f"examples: {list_some(named, MOST_SUSPECTS, '; ')}"

    def _check_divergence(self, loss_sums: Tensor, target_counts: Tensor) -> None:
        """Raise MasscliError if the loss has been too high for `DIVERGENCE_PATIENCE` updates in a row.

        The limit is twice the loss of the first update that this object made, or twice that of a uniform
        guess over the vocabulary if this is higher. `loss_sums` are of the last update in this process, and
        `target_counts` of all processes. All processes must call this together, and raise together.
        """
        # The share of one process may be small, or of the harder stream.
        loss_sum = distributed.all_reduce_sum(loss_sums.sum())
        loss = float(loss_sum) / max(1.0, float(target_counts.sum()))
        if self._first_loss is None:
            # An untrained model has the loss of a uniform guess.
            self._first_loss = max(loss, math.log(self.model.vocab_size))
        limit = 2 * self._first_loss
        self._updates_far_above = self._updates_far_above + 1 if loss > limit else 0
        if self._updates_far_above >= DIVERGENCE_PATIENCE:
            raise MasscliError(
                f"update {self.state.step}: the loss has been above {limit:.1f} "
                f"for {self._updates_far_above} updates; the run diverges",
                f"lower --lr or raise --warmup-updates; {self.what_remains()}",
            )
