"""Ways to corrupt a line of ids.  Pure functions of ids and a generator; they know nothing of batches, padding or models.

A row is X = start, w_1 .. w_n, end, with indices 0 .. n+1.  Generators are counter-based: `example_rng` gives each example its own, which
depends on nothing but the seed, the stream, the epoch and the example, so noise does not change with batches, workers or processes.
"""

from __future__ import annotations

import zlib

import numpy as np


def example_generator(seed: int, stream: str, epoch: int, example: int) -> np.random.Generator:
    """The generator of one example in one epoch."""
    return np.random.Generator(
        np.random.Philox(counter=[0, 0, epoch, example], key=[seed, zlib.crc32(stream.encode())])
    )
