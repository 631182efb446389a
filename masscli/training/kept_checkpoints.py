"""The checkpoints of a run that are kept: the latest, the best, and those at the end of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from masscli.checkpoint import checkpoint
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.training.config import CheckpointConfig
from masscli.training.validation import lower_is_better


class KeptCheckpoints:
    """The checkpoints in the folder of a run, and which of them may go.

    `checkpoints` are those that are there when the run begins or goes on, by step. `scores` are their values
    of the metric that decides which is best, None for those without one. The ranking follows the metric of
    this call, which may be another one than before.
    """

    def __init__(
        self, folder: Path, config: CheckpointConfig, checkpoints: Mapping[int, Checkpoint] | None = None
    ) -> None:
        self.folder = folder
        self.config = config
        self.scores: dict[int, float | None] = {}
        self.epoch_ends: set[int] = set()
        for step, saved in (checkpoints or {}).items():
            self.add(step, saved.metrics.get(config.best_metric), saved.state.ends_epoch)

    def add(self, step: int, score: float | None, ends_epoch: bool) -> None:
        """Take note of a checkpoint that was saved."""
        self.scores[step] = score
        if ends_epoch:
            self.epoch_ends.add(step)

    def stale_steps(self) -> list[int]:
        """Return the steps whose checkpoints may go."""
        config = self.config
        ranked = checkpoint.rank_steps(self.scores, lower_is_better(config.best_metric))
        kept = {*sorted(self.scores)[-config.keep_last :], *ranked[: config.keep_best]}
        if config.keep_last_epochs:
            kept |= {*sorted(self.epoch_ends)[-config.keep_last_epochs :]}
        return [step for step in sorted(self.scores) if step not in kept]

    def prune(self) -> None:
        """Remove what need not be kept: whole checkpoints, and the optimizer of older ones."""
        for step in self.stale_steps():
            checkpoint.remove_checkpoint(self.folder, step)
            del self.scores[step]
            self.epoch_ends.discard(step)
        complete = self.config.keep_optimizer_states
        if complete is not None:
            for step in sorted(self.scores)[:-complete]:
                checkpoint.drop_optimizer_state(self.folder / f"step-{step:07d}")
