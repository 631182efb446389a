"""Learning-rate schedules, with the names and formulas of their publications."""

from __future__ import annotations

import math

from masscli.training.config import OptimConfig


def learning_rate(
    config: OptimConfig,
    update: int,
    max_update: int | None,
    plateau_factor: float = 1.0,
) -> float:
    """Return the learning rate of the next update, after `update` updates have been made.

    With t = `update`, W = warm-up updates and T = `max_update`, which the decaying schedules need:

    - inverse_sqrt (fairseq): linear from warmup_init_lr to lr within W, then lr * sqrt(W / t)
    - linear (fairseq's polynomial_decay, Hugging Face): lr * t / W, then linear down to end_lr at T
    - poly_tf (BERT): lr * t / W, then from lr to end_lr by the share 1 - t / T, with a jump at W
    - poly_mult (ELECTRA): lr * (1 - t / T) * min(1, t / W)
    - cosine (GPT): lr * t / W, then from lr to end_lr by the share (1 + cos(pi * t / T)) / 2
    - constant: lr * min(1, t / W)
    - wsd (Hu et al. 2024, section 4; Haegele et al. 2024): lr * t / W, then lr, and in the last N =
      decay_updates from lr to end_lr by the share 1 - x or 1 - sqrt(x), where x = (t - T + N) / N
    - reduce_lr_on_plateau (fairseq, PyTorch): as inverse_sqrt within W, then lr * plateau_factor, but at
      least end_lr

    "From lr to end_lr by the share s" means end_lr + (lr - end_lr) * s. As in all of the released code,
    t is 0 in the first update, so with a warm-up the first rate is warmup_init_lr or 0.
    """
    # setup/compose.py fills in both before a run begins.
    assert config.lr is not None and config.warmup_updates is not None
    schedule = config.lr_scheduler
    t = float(update)
    if schedule in ("inverse_sqrt", "reduce_lr_on_plateau"):
        if t < config.warmup_updates:
            return (
                config.warmup_init_lr
                + (config.lr - config.warmup_init_lr) * t / config.warmup_updates
            )
        if schedule == "reduce_lr_on_plateau":
            return max(config.end_lr, config.lr * plateau_factor)
        # Without warm-up the rate falls from the first update on, as with a warm-up of one.
        return config.lr * math.sqrt(max(1, config.warmup_updates) / max(1.0, t))
    # Without warm-up the share is 1 from the first update on.
    warmup_share = min(1.0, t / config.warmup_updates) if config.warmup_updates else 1.0
    if schedule == "constant":
        return config.lr * warmup_share
    total = float(max_update or 0)
    assert total > 0, "setup/compose.py refuses a decaying schedule without an end"
    # ELECTRA multiplies the decay by the warm-up; the other schedules switch from one to the other.
    if schedule == "poly_mult":
        return config.lr * max(0.0, 1 - t / total) * warmup_share
    if t < config.warmup_updates:
        return config.lr * t / config.warmup_updates
    return config.end_lr + (config.lr - config.end_lr) * _decay(config, t, total)


def _decay(config: OptimConfig, t: float, total: float) -> float:
    """Return the share of the way from end_lr to lr that remains at update `t`, after the warm-up.

    It is at most 1, and 0 from update `total` on, unless wsd has no updates in which it decays. `config` has
    one of the schedules linear, poly_tf, cosine and wsd.
    """
    # Beyond the last update the rate stays at its final value.
    progress = min(1.0, t / total)
    if config.lr_scheduler == "poly_tf":
        return 1 - progress
    if config.lr_scheduler == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if config.lr_scheduler == "wsd":
        return _wsd_decay(config, t, total)
    assert config.warmup_updates is not None
    return max(0.0, (total - t) / max(1.0, total - config.warmup_updates))


def _wsd_decay(config: OptimConfig, t: float, total: float) -> float:
    """Return the share of the way from end_lr to lr that remains in the schedule wsd at update `t`.

    It is 1 until the last `config.decay_updates` updates (default: a tenth of `total`), and 0 from update
    `total` on. With no such updates it is always 1.
    """
    updates = config.decay_updates
    if updates is None:
        updates = int(total) // 10
    begin = total - updates
    if t < begin or updates == 0:
        return 1.0
    progress = min(1.0, (t - begin) / updates)
    if config.decay_shape == "sqrt":
        progress = math.sqrt(progress)
    return 1.0 - progress
