"""The checkpoints of a run that are kept: the latest, the best, and those at the end of an epoch."""

from __future__ import annotations

from pathlib import Path

from masscli.checkpoint import saving
from masscli.training.config import CheckpointConfig
from masscli.training.validation import lower_is_better


class KeptCheckpoints:
    """Keeps track of the checkpoints in the folder of a run, and removes those that need not be kept.

    `scores` has the value of `config.best_metric` for each checkpoint by step, or None if there is none that
    can be compared. Checkpoints are ranked by this metric, even if the run was started with another one.
    """

    def __init__(self, folder: Path, config: CheckpointConfig) -> None:
        self.folder = folder
        self.config = config
        self.scores: dict[int, float | None] = {}
        self.epoch_ends: set[int] = set()

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
        # Until there is a score to compare, the best checkpoint is that by other examples or another metric.
        if not ranked:
            kept |= self._linked_as_best()
        return [step for step in sorted(self.scores) if step not in kept]

    def _linked_as_best(self) -> set[int]:
        """Return the step of the checkpoint that the link `best` points to; the set is empty without one."""
        best = self.folder / "best"
        if not best.is_symlink():
            return set()
        name = best.readlink().name
        return {step for step in self.scores if saving.checkpoint_name(step) == name}

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
                saving.drop_optimizer_state(self.folder / saving.checkpoint_name(step))
