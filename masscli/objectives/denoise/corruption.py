"""Ways to corrupt a line of ids.  Pure functions of ids and a generator; they know nothing of batches, padding or models.

A row is X = start, w_1 .. w_n, end, with indices 0 .. n+1.  Generators are counter-based: `example_generator` gives each example its own, which
depends on nothing but the seed, the stream, the epoch and the example, so noise does not change with batches, workers or processes.
"""

from __future__ import annotations

import numpy as np

from masscli.data.batches.batch import Ids


def denoise(ids: Ids, shuffle: float, drop: float, blank: float, mask: int, rng: np.random.Generator) -> Ids:
    """Lample et al. (2018, section 2.3): drop tokens, replace some by [M], then sort by place + U(0, shuffle + 1).  Keeps at least one."""
    keep = rng.random(len(ids)) >= drop
    if len(ids) and not keep.any():
        keep[rng.integers(len(ids))] = True
    out = np.where(rng.random(len(ids)) < blank, mask, ids)[keep]
    return (
        out[np.argsort(np.arange(len(out)) + rng.uniform(0, shuffle + 1, len(out)), kind="stable")]
        if shuffle
        else out
    )
