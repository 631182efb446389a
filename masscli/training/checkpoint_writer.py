"""Writes the checkpoints of a run, ranks them, and removes those that need not be kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from masscli.checkpoint import saving
from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.training.events import Event, Saved
from masscli.training.fsdp import gather_tensors
from masscli.training.kept_checkpoints import KeptCheckpoints
from masscli.training.optim import optimizer_state
from masscli.training.run_parts import RunParts
from masscli.training.validation import lower_is_better


class CheckpointWriter:
    """Saves a run: its weights, those of its objectives, the optimizer state, and the progress of the run.

    `kept` keeps track of the checkpoints. The state of the run also records the best score. If the run has a
    moving average of the weights, checkpoints hold the average in place of the weights.
    """

    def __init__(self, parts: RunParts, kept: KeptCheckpoints) -> None:
        self.parts = parts
        self.kept = kept
        self._last_saved = parts.state.step

    def save(
        self, metrics: Mapping[str, float], on_schedule: bool = False
    ) -> Iterator[Event]:
        """Write a checkpoint, update the links `last` and `best`, and remove stale checkpoints.

        `metrics` are those of a validation of the same weights; they are empty if there was none.
        `on_schedule` says whether this validation was due, and not an extra one at the end of the run. With
        `--no-save` only the best score is recorded. Only rank 0 writes, and yields `Saved`; all processes
        must call this together.
        """
        config = self.parts.recipe.checkpoint
        state = self.parts.state
        score = metrics.get(config.best_metric)
        is_best = self._record_score(score, on_schedule)
        if config.save:
            # Everything that changes from update to update must be in the state, or a continued run would
            # differ.
            state.loss_scale = self.parts.loss_scale.value
            state.updates_since_overflow = self.parts.loss_scale.updates_since_overflow
            with self.averaged_weights():
                yield from self._write_checkpoint(metrics, score, is_best)
            # No process may end, or continue to the next save, while rank 0 is still writing.
            distributed.barrier()
        self._last_saved = state.step

    def has_saved(self) -> bool:
        """Return whether there has been no update since the last call of `save`, or of the constructor."""
        return self.parts.state.step == self._last_saved

    def averaged_weights(self) -> AbstractContextManager[None]:
        """Return a context in which model and objectives have the moving average of their weights.

        Without `--ema-decay` the context changes nothing.
        """
        if self.parts.weight_average is None:
            return nullcontext()
        return self.parts.weight_average.swapped_in()

    def _write_checkpoint(
        self, metrics: Mapping[str, float], score: float | None, is_best: bool
    ) -> Iterator[Event]:
        """Write a checkpoint of the present weights, update its links, and remove stale checkpoints.

        `score` is the value of the metric that ranks checkpoints, or None; with `is_best` the link `best` is
        set too. Rank 0 writes and yields `Saved`; all processes must call this together.
        """
        # Gathering is collective: every process takes part, and rank 0 writes.
        weights = gather_tensors(self.parts.model.state_dict())
        optimizer_tensors = gather_tensors(
            optimizer_state(self.parts.optimizer, self.parts.parameter_names)
        )
        if distributed.rank > 0:
            return
        # While the model has the averaged weights, the average has the trained ones.
        trained = None
        if self.parts.weight_average is not None:
            trained = self.parts.weight_average.values
        state = self.parts.state
        path = saving.save_checkpoint(
            self.parts.folder / "checkpoints",
            self.parts.recipe,
            replace(state),
            self.parts.tokenizer,
            model=weights,
            objectives=self._objective_tensors(),
            optimizer=optimizer_tensors,
            trained=trained,
            metrics=metrics,
        )
        self.kept.add(state.step, score, state.ends_epoch)
        self._link_and_prune(path, is_best)
        yield Saved(state.step, path, is_best)

    def _objective_tensors(self) -> dict[str, Tensor]:
        """Return the tensors of all objectives, such as classification heads, by `STREAM.NAME`."""
        tensors = {}
        for stream in self.parts.streams.values():
            for name, tensor in stream.objective.state_dict().items():
                tensors[f"{stream.name}.{name}"] = tensor
        return tensors

    def _link_and_prune(self, path: Path, is_best: bool) -> None:
        """Let the links `last` and, if `is_best`, `best` point to a checkpoint, and remove stale checkpoints.

        Raises MasscliError if the folder of the run is gone.
        """
        try:
            # Links follow a complete checkpoint, so they never point to a part of one.
            saving.link_checkpoint(path.parent, "last", path)
            if is_best:
                saving.link_checkpoint(path.parent, "best", path)
            self.kept.prune()
        except FileNotFoundError as error:
            raise MasscliError(
                f"{self.parts.folder}: was moved or removed while the run was trained "
                f"({error.filename} is gone)",
                "the same command continues from the last checkpoint that it finds in the folder",
            ) from None

    def _record_score(self, score: float | None, on_schedule: bool) -> bool:
        """Record the score of a validation in the state of the run, and return whether it is the best so far.

        A better score replaces the best one. Any other is counted as a validation without improvement (for
        `--patience`) if the validation was due, as `on_schedule` says. If `score` is None, nothing is
        recorded and False is returned.
        """
        if score is None:
            return False
        best = self.parts.state.best_score
        if best is None:
            improved = True
        elif lower_is_better(self.parts.recipe.checkpoint.best_metric):
            improved = score < best
        else:
            improved = score > best
        if improved:
            self.parts.state.best_score = score
            self.parts.state.validations_since_best = 0
        # A run that is trained in several parts must not end earlier than one that is trained in one.
        elif on_schedule:
            self.parts.state.validations_since_best += 1
        return improved

    def what_remains(self) -> str:
        """Return a hint for errors: the checkpoint to continue from, or that nothing was saved yet."""
        if self.kept.scores:
            last = self.parts.folder / "checkpoints" / "last"
            return (
                f"the run continues from {last}; changed settings need --accept-changes"
            )
        return "nothing was saved yet: the run starts over"
