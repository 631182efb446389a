"""The training loop, written once for every objective, in one process or in many.

training/micro_batches.py says what an update learns from, training/gradients.py computes its gradient,
training/updater.py applies it, training/progress.py says what is due, and training/checkpoint_writer.py
writes checkpoints; this module puts them together. The gradient of an update depends only on its
micro-batches, the weights, the seed and the number of the update. A run that was stopped and continued, or
distributed over several processes, therefore gives the same model. With `--batch-reuse` n, a draw of
micro-batches is used in n updates in a row; the trainer saves a checkpoint or ends the run only after the
last of these.

The trainer yields events and prints nothing. It knows no objective by name.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Generator, Iterator

import torch

from masscli.core import distributed
from masscli.core.errors import MasscliError, note_failed_save
from masscli.data.batches.loader import PreparedBatch
from masscli.training.checkpoint_writer import CheckpointWriter
from masscli.training.core_shortage import CoreShortage
from masscli.training.events import Evaluated, Event, Finished, Stepped, Warned
from masscli.training.expected_curve import parse_expected_curve
from masscli.training.frozen_rows import FrozenRows
from masscli.training.fsdp import gathered_model
from masscli.training.gradients import Gradients
from masscli.training.kept_checkpoints import KeptCheckpoints
from masscli.training.metric_averager import MetricAverager, peak_memory
from masscli.training.micro_batches import MicroBatches, UpdateBatches
from masscli.training.objective_metrics import collect_training_metrics
from masscli.training.plateau import record_validation
from masscli.training.progress import Progress
from masscli.training.run_parts import RunParts
from masscli.training.signals import Interruption, Signals
from masscli.training.updater import ParameterUpdater
from masscli.training.validation import (
    ValidationResult,
    Validator,
    lower_is_better,
)


class Trainer:
    """Trains, validates and saves the model of a run with its streams, as the recipe says.

    `kept` keeps track of the checkpoints. `frozen_rows` are the rows of tables that must not change, if any.
    """

    def __init__(
        self,
        parts: RunParts,
        validator: Validator,
        kept: KeptCheckpoints,
        frozen_rows: FrozenRows,
    ) -> None:
        self.parts = parts
        self.recipe = parts.recipe
        self.model = parts.model
        self.streams = parts.streams
        self.state = parts.state
        self.device = parts.device
        self.validator = validator
        self.micro_batches = MicroBatches(parts)
        self.gradients = Gradients(parts)
        self.writer = CheckpointWriter(parts, kept)
        self.updater = ParameterUpdater(
            parts, self.gradients, frozen_rows, self.writer.what_remains
        )
        self.signals = Signals(
            stop_on_usr1=self.recipe.checkpoint.stop_on_signal == "usr1"
        )
        self._stop_reason = ""
        """Why the caller wants the run to end; empty if it does not."""

    # -- the loop --

    def run(self) -> Iterator[Event]:
        """Train until the run ends, and yield its events, the last of which is `Finished`.

        A run ends after its last update, for one of the reasons in the recipe (epochs, time, patience,
        learning rate), or at a signal. Validations and checkpoints are made on the way and at the end. Raises
        MasscliError if training diverges, a gradient or a validation metric is not finite, or memory runs
        out.
        """
        self._set_training_mode()
        progress = Progress(self.parts)
        averager = MetricAverager(len(self.gradients.terms), self.device)
        # Signals are only recorded until everything is saved; afterwards they act as usual.
        with self.signals:
            yield from self._make_up_for_validation(progress)
            if not progress.interrupted:
                yield from self._loop(progress, averager)
            # Updates since the last report would otherwise be missing in the log.
            if averager.updates:
                yield self._report(averager, progress)
            yield from self._save_at_end(progress)
        reason = progress.reason or "done"
        yield Finished(
            self.state.step, reason, self.state.seconds, progress.interrupted
        )

    def stop(self, reason: str) -> None:
        """End the run as a signal does: after the current update, with a checkpoint.

        The caller goes on with the iteration of `run` until `Finished`, whose reason is `reason`. One process
        may call this for all.
        """
        self._stop_reason = reason
        self.signals.stop()

    def _make_up_for_validation(self, progress: Progress) -> Iterator[Event]:
        """Validate the model if a signal interrupted a validation that was due when the run was stopped."""
        # The result may change the learning rate or end the run, so this comes before the next update.
        if self.state.pending_validation == "scheduled" and self._may_validate():
            yield from self._validate_and_save(on_schedule=True)
            self._heed_signals(progress)

    def _save_at_end(self, progress: Progress) -> Iterator[Event]:
        """Save the last updates of a run, after a validation unless a signal ends the run."""
        unsaved = not self.writer.has_saved()
        lacks_validation = unsaved or self.state.pending_validation
        # The sender of a signal may kill the process before a validation would end.
        if lacks_validation and self._may_validate() and not progress.interrupted:
            yield from self._validate_and_save(on_schedule=False)
            # The validation says by this that it was interrupted.
            if self.state.pending_validation:
                self._heed_signals(progress)
        elif unsaved:
            yield from self._save_without_validation()

    def _save_without_validation(self) -> Iterator[Event]:
        """Save the run at once, as a signal asks to; a validation is due if no update follows."""
        if self._may_validate():
            self.state.pending_validation = "final"
        yield from self.writer.save({})

    def try_update(self) -> tuple[list[PreparedBatch], dict[str, float]]:
        """Compute the gradient of the next update and discard it, without a step of the optimizer.

        Returns the micro-batches of this process, and the losses over all processes as `STREAM.TERM` to nats
        per target. Both are empty if the run has made its last update.
        """
        self._set_training_mode()
        self._begin_draw()
        update = next(iter(self.micro_batches), None)
        if update is None:
            return [], {}
        loss_sums, target_counts = self.gradients.compute(update.prepared)
        self.parts.optimizer.zero_grad(set_to_none=True)
        losses = self.gradients.mean_losses(loss_sums, target_counts.cpu())
        return update.prepared, losses

    def _set_training_mode(self) -> None:
        """Let the model and all objectives use dropout."""
        self.model.train()
        # Objectives are modules of their own, which the model does not contain.
        for stream in self.streams.values():
            stream.objective.train()

    def _begin_draw(self) -> None:
        """Tell all objectives that the next update begins a new draw of micro-batches."""
        for stream in self.streams.values():
            stream.objective.begin_update(self.model, self.state.step)

    def _loop(self, progress: Progress, averager: MetricAverager) -> Iterator[Event]:
        """Make updates, validate and save when due, and yield the events, until the run ends.

        If it ends before the last update, the reason is stored in `progress.reason`.
        """
        shortage = CoreShortage(self.device)
        updates = iter(self.micro_batches)
        while True:
            batches = yield from self._read_batches(updates)
            if batches is None:
                return
            # A checkpoint between two uses of a draw could not be continued exactly, so runs end after the
            # last one.
            if progress.is_between_draws():
                self.gradients.forget()
                progress.reason = progress.reason_to_end()
                if progress.reason:
                    return
                # An objective may change what a draw is prepared for, so this is done only between two
                # draws.
                self._begin_draw()
            yield from self._make_update(batches, progress, averager, shortage)
            # What would be due between two uses of a draw is due after the last one.
            if progress.is_between_draws():
                yield from self._after_draw(progress)
                if progress.interrupted:
                    return

    def _read_batches(
        self, updates: Iterator[UpdateBatches]
    ) -> Generator[Event, None, UpdateBatches | None]:
        """Return the micro-batches of the next update, or None after the last update.

        If they cannot be read, the updates so far are saved, and the events of that are yielded. All
        processes must call this together.
        """
        together = distributed.FailingTogether(self.device)
        try:
            with together:
                return next(updates, None)
        except Exception as error:
            yield from self._save_before(error, together)
            raise

    def _make_update(
        self,
        batches: UpdateBatches,
        progress: Progress,
        averager: MetricAverager,
        shortage: CoreShortage,
    ) -> Iterator[Event]:
        """Make one update with these micro-batches, and yield a report if one is due."""
        # A run that is continued beyond its earlier end needs no validation there.
        self.state.pending_validation = ""
        started = time.monotonic()
        progress.lr = progress.next_learning_rate()
        progress.grad_norm = self.updater.make_update(batches, averager, progress.lr)
        self.state.seconds = progress.seconds_before + progress.seconds
        averager.seconds += time.monotonic() - started
        if progress.report_is_due():
            yield self._report(averager, progress)
        # Many updates may pass before the next report, and the earlier a slow run is repeated the better.
        lacks_cores = shortage.warning()
        if lacks_cores is not None:
            yield Warned(self.state.step, lacks_cores)

    def _after_draw(self, progress: Progress) -> Iterator[Event]:
        """Validate and save after the last update of a draw, as intervals and signals demand.

        If a signal ends the run, it is stored in `progress`.
        """
        progress.count_epochs()
        if self._may_validate() and progress.validation_is_due():
            yield from self._validate_and_save(on_schedule=True)
        # A validation saves as well.
        elif progress.checkpoint_is_due():
            yield from self.writer.save({})
        save = self._heed_signals(progress)
        if save and not self.writer.has_saved():
            yield from self._save_without_validation()

    def _save_before(
        self, error: Exception, together: distributed.FailingTogether
    ) -> Iterator[Event]:
        """Save the updates so far before `error` is raised, unless it is that of this process alone.

        It is an error that no update has caused: one of a validation, or of reading data. If the updates
        cannot be saved either, a note of `error` says so. `together` is the block that the error has ended.
        """
        # Otherwise the other processes may be waiting elsewhere.
        if together.failed and not self.writer.has_saved():
            try:
                yield from self.writer.save({})
            except (MasscliError, OSError) as second:
                note_failed_save(error, second)

    def _may_validate(self) -> bool:
        """Return whether there is validation data and `--validate-after-updates` updates have been made."""
        return (
            bool(self.validator)
            and self.state.step >= self.recipe.valid.validate_after_updates
        )

    def _heed_signals(self, progress: Progress) -> bool:
        """Return whether a signal has asked for a checkpoint; store in `progress` whether one ends the run.

        All processes call this together.
        """
        progress.interrupted, save = self._agreed_signals()
        if progress.interrupted:
            name = signal.Signals(progress.interrupted).name
            progress.reason = self._stop_reason or f"stopped by {name}"
        return save

    def _agreed_signals(self) -> tuple[int, bool]:
        """Return the signal that ends the run, or 0, and whether a signal has asked for a checkpoint.

        All processes call this together after the same update and act alike, whichever of them received a
        signal. The request to save is cleared.
        """
        # Read once: a signal may arrive between two lines.
        mine = self.signals.received
        save = self.signals.save_requested
        if save:
            self.signals.save_requested = False
        requests = torch.tensor([float(mine), float(save)], device=self.device)
        any_stop, any_save = distributed.all_reduce_sum(requests).tolist()
        # The sum does not tell which signals the others received, so SIGTERM stands for all.
        if any_stop and not mine:
            mine = signal.SIGTERM
        return mine, any_save > 0

    # -- validation, checkpoints and reports --

    def _validate_and_save(self, on_schedule: bool) -> Iterator[Event]:
        """Validate the model, save a checkpoint, and yield the events of both.

        `on_schedule` is false for the extra validation at the end of a run, which does not change the
        learning rate of reduce_lr_on_plateau and does not count for `--patience`. Raises MasscliError, and
        saves nothing, if a metric is not finite.

        A signal interrupts the validation, and a checkpoint without metrics is saved at once. If the
        signal lets the run continue, the validation starts again; otherwise it remains
        `pending_validation` of the state. The same is done if the validation fails, in one process or in all,
        before the error is raised, so that the run continues with this validation.
        """
        self.state.pending_validation = "scheduled" if on_schedule else "final"
        started = time.monotonic()
        together = distributed.FailingTogether(self.device)
        try:
            result = self._measure(together, interrupted_by_save=True)
        except Exception as error:
            yield from self._save_before(error, together)
            raise
        if result is None:
            yield from self.writer.save({})
            stopping, _ = self._agreed_signals()
            if stopping:
                return
            started = time.monotonic()
            # These weights are saved now.
            result = self._measure(together, interrupted_by_save=False)
            if result is None:
                return
        self.state.pending_validation = ""
        yield from self._record_validation(
            result, time.monotonic() - started, on_schedule
        )

    def _measure(
        self, together: distributed.FailingTogether, interrupted_by_save: bool
    ) -> ValidationResult | None:
        """Return what the validator measures, or None as soon as a signal asks to end the run.

        An error in one process ends the validation in all of them, in the block `together`.
        With `interrupted_by_save` this is also done at a signal that only asks for a checkpoint. With several
        processes, which have to agree, a signal is noticed only between two parts of a validation. All
        processes must call this together.
        """

        def check_signals() -> None:
            interrupts = bool(self.signals.received)
            if interrupted_by_save:
                interrupts = interrupts or self.signals.save_requested
            requests = torch.tensor(float(interrupts), device=self.device)
            if float(distributed.all_reduce_sum(requests)):
                raise Interruption

        try:
            with (
                self.writer.averaged_weights(),
                gathered_model(self.parts.train_step) as model,
                together,
            ):
                if distributed.world_size > 1:
                    return self.validator.measure(model, check_signals)
                with self.signals.interruptible(interrupted_by_save):
                    return self.validator.measure(model)
        except Interruption:
            # A validation that completes does this itself.
            self._set_training_mode()
            return None

    def _record_validation(
        self, result: ValidationResult, seconds: float, on_schedule: bool
    ) -> Iterator[Event]:
        """Yield the event of a validation that took some seconds, and save a checkpoint with its metrics.

        `on_schedule` is as for `_validate_and_save`. Raises MasscliError, and saves nothing, if a metric is
        not finite.
        """
        metrics = result.metrics
        # Such a model is not saved, so the last checkpoint is still a good one.
        if not all(math.isfinite(value) for value in metrics.values()):
            values = ", ".join(f"{name} {value:.3g}" for name, value in metrics.items())
            raise MasscliError(
                f"update {self.state.step}: the model's losses on the validation set "
                f"are not numbers ({values})",
                f"lower --lr or set --clip-norm; {self.writer.what_remains()}",
            )
        expected = self._expected_values()
        yield Evaluated(
            self.state.step,
            metrics,
            result.signatures,
            seconds,
            result.samples,
            expected,
        )
        best_metric = self.recipe.checkpoint.best_metric
        # An extra validation at the end must not change the rates if the run is extended later.
        if on_schedule and self.recipe.optim.lr_scheduler == "reduce_lr_on_plateau":
            lower = lower_is_better(best_metric)
            record_validation(
                self.state, metrics[best_metric], self.recipe.optim, lower
            )
        yield from self.writer.save(metrics, on_schedule)

    def _expected_values(self) -> dict[str, tuple[float, float]]:
        """Return the lowest and the highest value that `--expected-curve` gives after this update, by metric.

        The mapping is empty without the option, and before the first and after the last update of the curve.
        """
        text = self.recipe.valid.expected_curve
        if not text:
            return {}
        curve = parse_expected_curve(text)
        band = curve.band_at(self.state.step)
        return {} if band is None else {curve.metric: band}

    def _report(self, averager: MetricAverager, progress: Progress) -> Stepped:
        """Return the event that sums up the updates since the last report, and reset the sums in `averager`.

        All processes must call this together.
        """
        losses = self.gradients.mean_losses(averager.loss_sums, averager.target_counts)
        objective_metrics, warnings = collect_training_metrics(
            self.streams.values(), self.device
        )
        event = Stepped(
            step=self.state.step,
            epoch=progress.complete_epochs(),
            losses=losses,
            lr=progress.lr,
            grad_norm=progress.grad_norm,
            targets=int(averager.target_counts.sum()),
            padding=averager.padding_share(),
            seconds=averager.seconds,
            loss_scale=self.parts.loss_scale.value,
            overflows=self.state.overflows,
            oom_retries=self.state.oom_retries,
            memory=peak_memory(self.device),
            generation_share=self.gradients.generation_seconds
            / max(averager.seconds, 1e-9),
            objective_metrics=objective_metrics,
            warnings=warnings,
        )
        averager.reset()
        self.gradients.generation_seconds = 0.0
        return event
