"""Ways to corrupt a line of ids.  Pure functions of ids and a generator; they know nothing of batches, padding or models.

A row is X = start, w_1 .. w_n, end, with indices 0 .. n+1.  Generators are counter-based: `example_generator` gives each example its own, which
depends on nothing but the seed, the stream, the epoch and the example, so noise does not change with batches, workers or processes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from masscli.data.batches.batch import Ids
from masscli.objectives.mass.options import MassOptions
from masscli.objectives.shared.corruption import Bools, replace_some


class Masked(NamedTuple):
    """A row with a fragment hidden.  corrupted (n+2,): the row as the encoder sees it; hidden (n+2,): which of it is [M];
    inputs, positions (T,): what the decoder reads and where; labels (K,), at (K,): what it must write after which of its inputs."""

    corrupted: Ids
    hidden: Bools
    inputs: Ids
    positions: Ids
    labels: Ids
    at: Ids


def mass(
    row: Ids, options: MassOptions, mask: int, words: Ids, size: int, rng: np.random.Generator
) -> Masked:
    """MASS (Song et al. 2019, section 3): hide fragments of `row` from the encoder, let the decoder write them.

    `options` are resolved; `mask` is the id of [M]; `words` are the ids that are not special, `size` the number of all ids.
    """
    chosen = _fragments(len(row) - 2, options, rng)
    corrupted, hidden = row.copy(), np.zeros(len(row), np.bool_)
    spots = chosen
    if (
        options.source_shift
    ):  # the released fairseq code hides k + 1 tokens, one place later; a fragment's end moves with it
        spots = np.unique(
            np.concatenate([chosen + i for i in range(options.source_shift, 2 * options.source_shift + 1)])
        )
        spots = spots[spots < len(row)]
    pool = words if options.random_ids == "words" else None
    assert options.mask_share is not None and options.random_share is not None
    corrupted[spots], hidden[spots] = replace_some(
        row[spots], options.mask_share, options.random_share, mask, pool, size, rng
    )
    fed = np.arange(len(row) - 1) if options.feed == "all" else chosen - 1
    inputs = row[fed]
    if options.first_input == "mask":
        first = np.isin(fed, chosen[np.diff(chosen, prepend=-1) > 1] - 1)
        inputs[first] = mask
    assert options.decoder_mask_share is not None and options.decoder_random_share is not None
    if options.decoder_mask_share or options.decoder_random_share:
        inputs, _ = replace_some(
            inputs, options.decoder_mask_share, options.decoder_random_share, mask, pool, size, rng
        )
    positions = fed if options.decoder_positions == "original" else np.arange(len(fed))
    at = chosen - 1 if options.feed == "all" else np.arange(len(chosen))
    return Masked(corrupted, hidden, inputs, positions, row[chosen], at)


def fragment_length(n: int, options: MassOptions) -> int:
    """k for n words: at least 1, at most what may be hidden."""
    if options.k_tokens is not None:
        k = options.k_tokens
    else:
        assert options.k is not None
        exact = options.k * (n if options.k_of == "words" else n + 2)
        k = int(exact) if options.k_rounding == "floor" else round(exact)
    return min(max(1, k), n + bool(options.mask_eos))


def _fragments(n: int, options: MassOptions, rng: np.random.Generator) -> Ids:
    """Sorted indices of the row that are hidden; none for an empty line without a maskable end."""
    if not options.block:
        last = n + bool(options.mask_eos)
        return _pieces(last, fragment_length(n, options), options, rng) + 1 if last else np.empty(0, np.int64)
    parts = []
    for begin in range(0, n, options.block):
        length = min(options.block, n - begin)
        k = int((options.k or 0) * length) if options.k_tokens is None else min(options.k_tokens, length)
        if k:
            parts.append(begin + 1 + _pieces(length, k, options, rng))
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _pieces(places: int, k: int, options: MassOptions, rng: np.random.Generator) -> Ids:
    """Choose k of `places` consecutive places, in pieces of `span`: sorted, from 0."""
    pinned = rng.random() if options.start == "ends" else 0.0
    if options.span is None or options.span >= k:
        free = places - k
        begin = 0 if pinned >= 0.8 else free if pinned >= 0.6 else int(rng.integers(free + 1))
        return np.arange(begin, begin + k)
    sizes = np.full(-(-k // options.span), options.span)
    sizes[-1] = k - options.span * (len(sizes) - 1)
    items = np.concatenate([sizes, np.zeros(places - k, np.int64)])  # 0 stands for a gap of one place
    if pinned >= 0.8:
        order = np.concatenate([[0], 1 + rng.permutation(len(items) - 1)])
    elif pinned >= 0.6:
        others = np.delete(np.arange(len(items)), len(sizes) - 1)
        order = np.concatenate([rng.permutation(others), [len(sizes) - 1]])
    else:
        order = rng.permutation(len(items))
    return np.flatnonzero(np.repeat(items[order] > 0, np.maximum(items[order], 1)))
