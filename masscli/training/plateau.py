"""The memory of the schedule reduce_lr_on_plateau: when validations do not improve, the rate falls.

The rule is that of PyTorch's ReduceLROnPlateau with a relative threshold, which fairseq uses as well. What it
remembers lies in the state of the run, so that a run that is continued goes on as if nothing had happened.
"""

from __future__ import annotations

from masscli.checkpoint.checkpoint import RunState
from masscli.training.config import OptimConfig


def record_validation(state: RunState, score: float, config: OptimConfig, lower_is_better: bool) -> None:
    """Remember the score of a validation, and lower the rate if too many have not been better.

    Validations within the warm-up do not count, as in fairseq.
    """
    assert config.warmup_updates is not None
    if state.step < config.warmup_updates:
        return
    if _is_better(score, state.plateau_best, config.lr_threshold, lower_is_better):
        state.plateau_best = score
        state.plateau_validations = 0
        return
    state.plateau_validations += 1
    if state.plateau_validations > config.lr_patience:
        state.lr_factor *= config.lr_shrink
        state.plateau_validations = 0


def _is_better(score: float, best: float | None, threshold: float, lower_is_better: bool) -> bool:
    """Return whether a score is better than the best one by more than the share `threshold`."""
    if best is None:
        return True
    if lower_is_better:
        return score < best * (1 - threshold)
    return score > best * (1 + threshold)
