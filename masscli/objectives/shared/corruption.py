"""BERT's 80/10/10 rule: chosen tokens become the mask symbol or random tokens (Devlin et al. 2019).

Every objective that corrupts tokens uses this function. The replacement of each token is drawn
independently, as in the released code of BERT, so the 80/10/10 split holds only in expectation. The
alternative, to split the chosen tokens of each example into parts of exactly 80%, 10% and 10%, is
meaningless for sentences in which one or two tokens are chosen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Ids

Bools = NDArray[np.bool_]


def replace_tokens(
    token_ids: Ids,
    mask_prob: float,
    random_prob: float,
    mask_id: int,
    random_pool: Ids,
    rng: np.random.Generator,
    groups: Ids | None = None,
) -> tuple[Ids, Bools]:
    """Replace each token by `mask_id` with `mask_prob`, by a random one with `random_prob`, or keep it.

    Random tokens are drawn from the ids in `random_pool`. `groups`, if given, has a group number (from 0) for
    each token: all tokens of a group are masked, replaced at random (each by its own random token) or kept
    together, as whole words are.

    Returns the new ids (L,), and a mask (L,) that is true where they are `mask_id`. This includes the rare
    case that `mask_id` itself is drawn as a random token. `token_ids` is not changed.
    """
    draws = rng.random(len(token_ids))
    if groups is not None:
        # The first draws of a sequence become those of its groups.
        draws = draws[groups]
    is_masked = draws < mask_prob
    # One number decides on both, so the shares add up.
    is_random = ~is_masked & (draws < mask_prob + random_prob)
    replaced = np.where(is_masked, mask_id, token_ids)
    # A random token is drawn for every position, so that the generator always advances equally far.
    random_ids = random_pool[rng.integers(len(random_pool), size=len(token_ids))]
    replaced[is_random] = random_ids[is_random]
    return replaced, replaced == mask_id
