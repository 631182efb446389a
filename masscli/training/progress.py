"""How far a run has come: its time and epochs, whether something is due, and whether the run ends."""

from __future__ import annotations

import time

import torch

from masscli.core import distributed
from masscli.core.listing import count_of
from masscli.data.batches.sampler import Position
from masscli.training.learning_rate import learning_rate
from masscli.training.run_parts import RunParts


class Progress:
    """What one call of `Trainer.run` has done so far, and what is due after its last update.

    With `--batch-reuse` n, a draw of micro-batches is used in n updates in a row. Epochs are those of the
    first stream.
    """

    def __init__(self, parts: RunParts) -> None:
        self._recipe = parts.recipe
        self._state = parts.state
        self._streams = parts.streams
        self._device = parts.device
        self._began = time.monotonic()
        self.seconds_before = self._state.seconds
        self.first_step = self._state.step + 1
        self._epochs_before = 0
        """Number of complete epochs before the last draw of micro-batches."""
        self._epochs_now = self.complete_epochs()
        """Number of complete epochs after the last draw of micro-batches."""
        self.grad_norm = 0.0
        self.lr = 0.0
        """Learning rate of the last update."""
        self.reason = ""
        """Why the run ends before its last update; empty if it does not."""
        self.interrupted = 0
        """Number of the signal that ends the run; 0 if none does."""

    @property
    def seconds(self) -> float:
        """Return the seconds that have passed since the call of `Trainer.run`."""
        return time.monotonic() - self._began

    def complete_epochs(self) -> int:
        """Return how often the first stream has been read to its end."""
        first = next(iter(self._streams.values()))
        position = self._state.positions.get(first.name, Position())
        # The position is that of the batch after the last one, which may be in the next epoch.
        _, following = first.sampler.at(position)
        return following.epoch

    def count_epochs(self) -> None:
        """Count the complete epochs after a draw, and store in the state whether the draw ended one."""
        self._epochs_before = self._epochs_now
        self._epochs_now = self.complete_epochs()
        self._state.ends_epoch = self._epochs_now > self._epochs_before

    def is_between_draws(self) -> bool:
        """Return whether the next update begins a new draw of micro-batches.

        With `--batch-reuse` n this is so before every n-th update, and before every update by default.
        """
        return self._state.step % self._recipe.train.batch_reuse == 0

    def next_learning_rate(self) -> float:
        """Return the learning rate of the next update."""
        max_update = self._recipe.train.max_update
        return learning_rate(
            self._recipe.optim, self._state.step, max_update, self._state.lr_factor
        )

    def report_is_due(self) -> bool:
        """Return whether the last update must be reported."""
        # The first update is reported at once, to show that training works and that a batch fits into memory.
        is_first = self._state.step == self.first_step
        return is_first or self._state.step % self._recipe.train.log_interval == 0

    def validation_is_due(self) -> bool:
        """Return whether the model must be validated now; asked only between two draws.

        Without intervals of their own, validations are due when checkpoints are.
        """
        saving = self._recipe.checkpoint
        valid = self._recipe.valid
        interval = valid.validate_interval_updates
        if interval is None:
            interval = saving.save_interval_updates
        return self._is_due(interval, valid.validate_interval or saving.save_interval)

    def checkpoint_is_due(self) -> bool:
        """Return whether a checkpoint must be saved now; asked only between two draws."""
        saving = self._recipe.checkpoint
        return self._is_due(saving.save_interval_updates, saving.save_interval)

    def _is_due(self, interval: int, epochs: int | None) -> bool:
        """Return whether something is due after this update, by its interval in updates or in epochs.

        It is due every `interval` updates (0: not by updates) and every `epochs` epochs (None: not by
        epochs).
        """
        # If draws are reused, the exact multiple may be inside a draw.
        if interval and self._state.step % interval < self._recipe.train.batch_reuse:
            return True
        return (
            epochs is not None
            and self._epochs_now // epochs > self._epochs_before // epochs
        )

    def reason_to_end(self) -> str:
        """Return why the run ends before the next update, or an empty string if it does not.

        The reasons are `--patience`, `--stop-min-lr`, `--max-epoch` and `--stop-time-hours`;
        `--max-update` is handled elsewhere. All processes call this together, and get the same.
        """
        train = self._recipe.train
        patience = self._recipe.checkpoint.patience
        validations = self._state.validations_since_best
        if patience and validations >= patience:
            counted = count_of(validations, "validation")
            return f"no better {self._recipe.checkpoint.best_metric} in {counted}"
        if self._rate_is_too_low():
            return f"the learning rate has fallen to {self.next_learning_rate():g}"
        # The last update may begin another epoch, since none of the first stream may be left out.
        if train.max_epoch is not None and self._epochs_now >= train.max_epoch:
            return (
                f"read {next(iter(self._streams))} {count_of(train.max_epoch, 'time')}"
            )
        if train.stop_time_hours is not None:
            # Clocks differ, so the first process decides for all.
            over = torch.tensor(
                float(self.seconds >= train.stop_time_hours * 3600),
                device=self._device,
            )
            if float(distributed.broadcast(over)):
                return f"{train.stop_time_hours} hours are over"
        return ""

    def _rate_is_too_low(self) -> bool:
        """Return whether the learning rate of the next update is at most `--stop-min-lr`.

        This is false within the warm-up, and if the option is not given.
        """
        lowest = self._recipe.train.stop_min_lr
        warmup = self._recipe.optim.warmup_updates or 0
        # Rates within the warm-up are low as well.
        return (
            lowest is not None
            and self._state.step >= warmup
            and self.next_learning_rate() <= lowest
        )
