"""The learning-rate schedule reduce_lr_on_plateau: the rate decreases when validations do not improve.

The criterion is that of PyTorch's ReduceLROnPlateau with a relative threshold, which fairseq uses as
well. The best score, the number of validations since it was reached or the rate last fell, and the
factor on the rate are kept in the state of the run, so that a continued run behaves as if it had not
been interrupted.
"""

from __future__ import annotations

from masscli.checkpoint.run_state import RunState
from masscli.training.config import OptimConfig


def record_validation(
    state: RunState, score: float, config: OptimConfig, lower_is_better: bool
) -> None:
    """Record the score of a validation in `state`, and lower the learning rate if scores do not improve.

    If more than `config.lr_patience` validations, since the best one or since the rate last fell, were not
    better than the best one, `state.lr_factor` is multiplied by `config.lr_shrink`. Validations within the
    warm-up are ignored, as in fairseq.
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


def _is_better(
    score: float, best: float | None, threshold: float, lower_is_better: bool
) -> bool:
    """Return whether a score is better than the best one by more than the share `threshold` of the latter.

    If `best` is None, every score is better. As in PyTorch, a slightly worse score counts as better, too, if
    the best one is negative.
    """
    if best is None:
        return True
    if lower_is_better:
        return score < best * (1 - threshold)
    return score > best * (1 + threshold)
