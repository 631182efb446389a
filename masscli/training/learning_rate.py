"""Learning-rate schedules, by the names and formulas under which they were published."""

from __future__ import annotations

import math

from masscli.training.config import OptimConfig


def learning_rate(config: OptimConfig, update: int, max_update: int | None) -> float:
    """Return the learning rate of an update, counted from 0.

    With t = `update`, W = warm-up updates and T = `max_update`, which the decaying schedules need:

    - inverse_sqrt (fairseq): linear from warmup_init_lr to lr within W, then lr * sqrt(W / t)
    - linear (fairseq's polynomial_decay, Hugging Face): lr * t / W, then linear down to end_lr at T
    - poly_tf (BERT): lr * t / W, then lr * (1 - t / T), with a jump at W
    - poly_mult (ELECTRA): lr * (1 - t / T) * min(1, t / W)
    - cosine (GPT): lr * t / W, then lr * (1 + cos(pi * t / T)) / 2
    - constant: lr * min(1, t / W)

    As in all of the released code t is 0 in the first update, whose rate is therefore warmup_init_lr, or 0,
    where there is a warm-up.
    """
    # setup/compose.py fills in both before a run begins.
    assert config.lr is not None and config.warmup_updates is not None
    t = float(update)
    warmup = config.warmup_updates
    lr = config.lr
    end_lr = config.end_lr
    schedule = config.lr_scheduler
    warming_up = t < warmup
    if schedule == "inverse_sqrt":
        if warming_up:
            return config.warmup_init_lr + (lr - config.warmup_init_lr) * t / warmup
        # Without warm-up the rate falls from the first update on, as with a warm-up of one.
        return lr * math.sqrt(max(1, warmup) / max(1.0, t))
    # Without warm-up the share is 1 from the first update on.
    warmup_share = min(1.0, t / warmup) if warmup else 1.0
    if schedule == "constant":
        return lr * warmup_share
    total = float(max_update or 0)
    assert total > 0, "setup/compose.py refuses a decaying schedule without an end"
    # Beyond the last update the rate stays at its end.
    remaining = max(0.0, 1 - t / total)
    # ELECTRA multiplies the decay by the warm-up, where the others replace one by the other.
    if schedule == "poly_mult":
        return lr * remaining * warmup_share
    if warming_up:
        return lr * t / warmup
    if schedule == "poly_tf":
        return end_lr + (lr - end_lr) * remaining
    if schedule == "cosine":
        return end_lr + (lr - end_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, t / total)))
    return end_lr + (lr - end_lr) * max(0.0, (total - t) / max(1.0, total - warmup))
