"""The checkpoints of a run that are kept: the latest, the best, and those at the end of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from masscli.checkpoint import saving
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.training.config import CheckpointConfig
from masscli.training.validation import lower_is_better


class KeptCheckpoints:
    """Keeps track of the checkpoints in the folder of a run, and removes those that need not be kept.

    `checkpoints` are those that exist when the run begins or continues, by step. `scores` has the value
    of `config.best_metric` for each checkpoint, or None if it was saved without a validation, or if it was
    measured on other examples than those of `valid_fingerprint`. All checkpoints are ranked by this metric,
    even if the run was started with another one.
    """

    def __init__(
        self,
        folder: Path,
        config: CheckpointConfig,
        checkpoints: Mapping[int, Checkpoint] | None = None,
        valid_fingerprint: str = "",
    ) -> None:
        self.folder = folder
        self.config = config
        self.scores: dict[int, float | None] = {}
        self.epoch_ends: set[int] = set()
        for step, saved in (checkpoints or {}).items():
            score = None
            if saved.state.valid_fingerprint in ("", valid_fingerprint):
                score = saved.metrics.get(config.best_metric)
            self.add(step, score, saved.state.ends_epoch)

    def add(self, step: int, score: float | None, ends_epoch: bool) -> None:
        """Register a checkpoint that was saved after update `step`, with its score or None.

        `ends_epoch` says whether this update completed an epoch of the first stream.
        """
        self.scores[step] = score
        if ends_epoch:
            self.epoch_ends.add(step)

    def stale_steps(self) -> list[int]:
        """Return the steps of the checkpoints that need not be kept, in ascending order."""
        config = self.config
        ranked = saving.rank_steps(self.scores, lower_is_better(config.best_metric))
        kept = {*sorted(self.scores)[-config.keep_last :], *ranked[: config.keep_best]}
        if config.keep_last_epochs:
            kept |= {*sorted(self.epoch_ends)[-config.keep_last_epochs :]}
        return [step for step in sorted(self.scores) if step not in kept]

    def prune(self) -> None:
        """Delete the checkpoints that need not be kept, and the optimizer state of older ones, from disk.

        Optimizer states are deleted only if `--keep-optimizer-states` says how many to keep.
        """
        for step in self.stale_steps():
            saving.remove_checkpoint(self.folder, step)
            del self.scores[step]
            self.epoch_ends.discard(step)
        complete = self.config.keep_optimizer_states
        if complete is not None:
            for step in sorted(self.scores)[:-complete]:
                saving.drop_optimizer_state(self.folder / f"step-{step:07d}")
