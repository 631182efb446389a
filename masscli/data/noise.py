"""Ways to corrupt a line of ids.  Pure functions of ids and a generator; they know nothing of batches, padding or models.

A row is X = start, w_1 .. w_n, end, with indices 0 .. n+1.  Generators are counter-based: `example_rng` gives each example its own, which
depends on nothing but the seed, the stream, the epoch and the example, so noise does not change with batches, workers or processes.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from masscli.data.batch import Ids
from masscli.methods import MassOptions

Bools = NDArray[np.bool_]


def example_rng(seed: int, stream: str, epoch: int, example: int) -> np.random.Generator:
    """The generator of one example in one epoch."""
    return np.random.Generator(np.random.Philox(counter=[0, 0, epoch, example], key=[seed, zlib.crc32(stream.encode())]))


class Masked(NamedTuple):
    """A row with a fragment hidden.  corrupted (n+2,): the row as the encoder sees it; hidden (n+2,): which of it is [M];
    inputs, positions (T,): what the decoder reads and where; labels (K,), at (K,): what it must write after which of its inputs."""

    corrupted: Ids
    hidden: Bools
    inputs: Ids
    positions: Ids
    labels: Ids
    at: Ids


def mass(row: Ids, options: MassOptions, mask: int, words: Ids, size: int, rng: np.random.Generator) -> Masked:
    """MASS (Song et al. 2019, section 3): hide fragments of `row` from the encoder, let the decoder write them.

    `options` are resolved; `mask` is the id of [M]; `words` are the ids that are not special, `size` the number of all ids.
    """
    chosen = _fragments(len(row) - 2, options, rng)
    corrupted, hidden = row.copy(), np.zeros(len(row), np.bool_)
    spots = chosen
    if options.source_shift:  # the released fairseq code hides k + 1 tokens, one place later; a fragment's end moves with it
        spots = np.unique(np.concatenate([chosen + i for i in range(options.source_shift, 2 * options.source_shift + 1)]))
        spots = spots[spots < len(row)]
    pool = words if options.random_ids == "words" else None
    assert options.mask_share is not None and options.random_share is not None
    corrupted[spots], hidden[spots] = replace_some(row[spots], options.mask_share, options.random_share, mask, pool, size, rng)
    fed = np.arange(len(row) - 1) if options.feed == "all" else chosen - 1
    inputs = row[fed]
    if options.first_input == "mask":
        first = np.isin(fed, chosen[np.diff(chosen, prepend=-1) > 1] - 1)
        inputs[first] = mask
    assert options.decoder_mask_share is not None and options.decoder_random_share is not None
    if options.decoder_mask_share or options.decoder_random_share:
        inputs, _ = replace_some(inputs, options.decoder_mask_share, options.decoder_random_share, mask, pool, size, rng)
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


def replace_some(
    ids: Ids, mask_share: float, random_share: float, mask: int, words: Ids | None, size: int, rng: np.random.Generator,
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


def denoise(ids: Ids, shuffle: float, drop: float, blank: float, mask: int, rng: np.random.Generator) -> Ids:
    """Lample et al. (2018, section 2.3): drop tokens, replace some by [M], then sort by place + U(0, shuffle + 1).  Keeps at least one."""
    keep = rng.random(len(ids)) >= drop
    if len(ids) and not keep.any():
        keep[rng.integers(len(ids))] = True
    out = np.where(rng.random(len(ids)) < blank, mask, ids)[keep]
    return out[np.argsort(np.arange(len(out)) + rng.uniform(0, shuffle + 1, len(out)), kind="stable")] if shuffle else out
