"""Named streams of random numbers, from NumPy's Philox generator.

Philox is counter-based: the seed, the purpose and two indices (such as an epoch and an example) give a
generator directly, without drawing earlier numbers. The noise of an example therefore depends only on
the seed, the training stream, the epoch and the example: it is the same for any batch size, number of
workers or number of processes.
"""

from __future__ import annotations

import zlib
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """The use of a stream of random numbers; no two purposes share numbers.

    Each value is a word of Philox's counter. It must never change, since that would change the results of
    training.
    """

    EXAMPLE_NOISE = 0
    """Corruption of one example. Indices: epoch, example."""
    EXAMPLE_ORDER = 1
    """Order of the examples, and of the batches, of one window. Indices: epoch, window."""
    BLOCK_ORDER = 2
    """Order of the blocks of a large dataset, which make up its windows. Index: epoch."""
    STREAM_CHOICE = 3
    """Choice of the training stream of a micro-batch. Indices: draw, micro-batch."""
    SENTENCE_PAIRS = 4
    """Division of a document into pairs of segments. Indices: document, copy (of several sets of pairs
    from one document)."""
    PAIR_TRUNCATION = 5
    """The ends at which a pair of segments is truncated. Index: pair."""
    STATIC_MASKS = 6
    """Masks that are the same in each epoch. Index: example."""
    SEGMENTATION = 7
    """Segmentation of the words of an example into pieces. Indices: epoch, example."""


def make_generator(
    seed: int, purpose: Purpose, index: int, second_index: int = 0, stream: str = ""
) -> np.random.Generator:
    """Return a generator that depends only on these arguments.

    `index` and `second_index` are the indices that `Purpose` lists for the purpose, such as epoch and
    example. `stream` is the name of the training stream, for purposes for which each stream draws its
    own numbers.
    """
    # Philox counts up in the first word of its counter while numbers are drawn, so that word starts at 0.
    counter = [0, purpose, index, second_index]
    # The checksum of a name is the same in every process, unlike Python's hash.
    return np.random.Generator(
        np.random.Philox(counter=counter, key=[seed, zlib.crc32(stream.encode())])
    )


def example_generator(
    seed: int, stream: str, epoch: int, example: int
) -> np.random.Generator:
    """Return the generator for the noise of one example of a training stream in one epoch."""
    return make_generator(seed, Purpose.EXAMPLE_NOISE, epoch, example, stream)
