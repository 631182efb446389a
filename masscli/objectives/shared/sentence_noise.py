"""The noise of denoising auto-encoders: tokens are dropped, blanked and shuffled.

Lample et al. 2018, section 2.3.
"""

from __future__ import annotations

import numpy as np

from masscli.data.batches.batch import Ids


def add_noise(
    token_ids: Ids,
    shuffle_distance: float,
    drop_prob: float,
    blank_prob: float,
    mask_id: int,
    rng: np.random.Generator,
) -> Ids:
    """Drop tokens, replace some of the others by `mask_id`, and shuffle the result locally.

    The shuffle sorts by position + U(0, shuffle_distance + 1), so no token moves much further than
    `shuffle_distance` places. At least one token of a sentence is kept.
    """
    # Everything is drawn for all tokens; dropped ones are taken out afterwards.
    kept = rng.random(len(token_ids)) >= drop_prob
    if len(token_ids) and not kept.any():
        # An empty source would have nothing to reconstruct the sentence from.
        kept[rng.integers(len(token_ids))] = True
    noisy = np.where(rng.random(len(token_ids)) < blank_prob, mask_id, token_ids)[kept]
    # Without a shuffle no numbers are drawn.
    if not shuffle_distance:
        return noisy
    keys = np.arange(len(noisy)) + rng.uniform(0, shuffle_distance + 1, len(noisy))
    return noisy[np.argsort(keys, kind="stable")]
