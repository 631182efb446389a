"""Ways to corrupt a line of ids.  Pure functions of ids and a generator; they know nothing of batches, padding or models.

A row is X = start, w_1 .. w_n, end, with indices 0 .. n+1.  Generators are counter-based: `example_generator` gives each example its own, which
depends on nothing but the seed, the stream, the epoch and the example, so noise does not change with batches, workers or processes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Ids

Bools = NDArray[np.bool_]


def replace_some(
    ids: Ids,
    mask_share: float,
    random_share: float,
    mask: int,
    words: Ids | None,
    size: int,
    rng: np.random.Generator,
    together: Ids | None = None,
) -> tuple[Ids, Bools]:
    """Each id becomes `mask`, a random one (of `words`, or of all `size`), or stays; and which are `mask` now.

    `together` (N,), numbers from 0, gives ids of one number the same lot (not the same random id).
    """
    draw = rng.random(len(ids))
    draw = draw if together is None else draw[together]
    masked = draw < mask_share
    randomly = ~masked & (draw < mask_share + random_share)
    out = np.where(masked, mask, ids)
    picks = rng.integers(len(words) if words is not None else size, size=len(ids))
    out[randomly] = (picks if words is None else words[picks])[randomly]
    return out, out == mask  # `mask` itself may be drawn from all ids


def mlm(ids: Ids, choosable: Bools, prob: float, keep: float, random_share: float, mask: int, words: Ids, size: int,
        rng: np.random.Generator) -> tuple[Ids, Ids]:  # fmt: skip
    """RoBERTa's dynamic masking (Liu et al. 2019): floor(prob * n + u) of the choosable places, 80/10/10: (corrupted ids, places)."""
    places = np.flatnonzero(choosable)
    count = min(len(places), max(1, int(prob * len(places) + rng.random())))
    chosen = np.sort(rng.permutation(places)[:count])
    out = ids.copy()
    out[chosen], _ = replace_some(ids[chosen], 1 - keep - random_share, random_share, mask, words, size, rng)
    return out, chosen
