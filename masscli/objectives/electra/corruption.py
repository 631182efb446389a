"""Choose the positions that ELECTRA's generator predicts, and mask them (Clark et al. 2020, section 2)."""

from __future__ import annotations

import numpy as np

from masscli.data.batches.batch import Ids
from masscli.objectives.shared.corruption import Bools


def choose_positions(
    maskable: Bools,
    mask_prob: float,
    max_masked: int,
    replacement: bool,
    rng: np.random.Generator,
) -> Ids:
    """Draw round(mask_prob * n) positions of a sequence of n tokens, and return them sorted.

    Only positions where `maskable` (n,) is true are drawn: at least one, if there is any, and at most
    `max_masked`. With `replacement`, as in the released code, a position may be drawn twice, and then counts
    twice in the generator's loss. The released code mixes its two samples into a third token, which is not
    done here.
    """
    candidates = np.flatnonzero(maskable)
    if not len(candidates):
        return candidates
    # The share is relative to the whole sequence, as in the released code.
    count = max(1, min(max_masked, round(mask_prob * len(maskable))))
    if not replacement:
        count = min(count, len(candidates))
    return np.sort(rng.choice(candidates, count, replace=replacement))


def mask_positions(
    token_ids: Ids,
    positions: Ids,
    keep_prob: float,
    mask_id: int,
    rng: np.random.Generator,
) -> Ids:
    """Return a copy of a sequence, in which the tokens at `positions` are replaced by `mask_id`.

    Each of them is replaced with probability 1 - `keep_prob`, otherwise kept. Positions may occur twice.
    """
    masked = token_ids.copy()
    # A position that was drawn twice is masked or kept once.
    distinct = np.unique(positions)
    masked[distinct[rng.random(len(distinct)) >= keep_prob]] = mask_id
    return masked
