"""The order of examples: a pure function of (sizes, seed, epoch), in micro-batches within a budget of tokens.

Nothing but integers, and no state: a `Position` says where one is, `BatchSampler.at` gives the micro-batch there.  Rows are shuffled whole up to
2^20 of them; beyond that, blocks of 4,096 rows are shuffled over the corpus and rows within windows of 2^20, so that memory stays
bounded whatever the corpus.  Within a window rows are sorted by length (ties at random), cut into micro-batches, and these shuffled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError

WINDOW, BLOCK = 2**20, 2**12
Rows = NDArray[np.int64]


class Position(NamedTuple):
    """A place in the order of one stream: the micro-batch that comes next."""

    epoch: int = 0
    window: int = 0
    batch: int = 0


class BatchLimits(NamedTuple):
    """Tokens of a micro-batch (rows times longest side), rows of it, the longest example a stack can take, by side, and what a user can
    lower to have shorter ones."""

    max_tokens: int
    batch_size: int | None = None
    max_lengths: tuple[int, ...] = ()
    shortening_options: str = "--max-source-positions and --max-target-positions"


class BatchSampler:
    """Micro-batches of row numbers out of `rows` rows whose sizes (n, sides) `sizes(start, stop)` tells.

    Rows with a side above `limits.max_lengths` are left out; `skipped` says how many.  Raises MasscliError when nothing is left, or when a row
    cannot fit the budget alone.
    """

    def __init__(
        self,
        rows: int,
        sizes: Callable[[int, int], Rows],
        limits: BatchLimits,
        seed: int,
        name: str,
        shuffle: bool = True,
    ) -> None:
        self.num_examples, self.sizes, self.limits, self.seed, self.shuffle = (
            rows,
            sizes,
            limits,
            seed,
            shuffle,
        )
        self.skipped = longest = 0
        shortest = np.iinfo(np.int64).max
        for start in range(0, rows, WINDOW):
            part = sizes(start, min(rows, start + WINDOW))
            fits = self._fits(part)
            self.skipped += int((~fits).sum())
            longest = max(longest, int(part[fits].max(initial=0)))
            shortest = min(shortest, int(part.max(1).min()))
        if self.skipped == rows:
            hint = f"the shortest has {shortest} tokens: raise --max-source-positions and --max-target-positions, or choose a larger model"
            raise MasscliError(
                f"stream {name}: no example left of {rows}", hint if rows else "the text is empty"
            )
        if longest > limits.max_tokens:
            raise MasscliError(
                f"stream {name}: an example of {longest} tokens does not fit --max-tokens {limits.max_tokens}",
                f"raise --max-tokens to {longest} or more, or lower {limits.shortening_options}",
            )
        self._window = lru_cache(maxsize=2)(self._plan)

    def at(self, position: Position) -> tuple[Rows, Position]:
        """The micro-batch at a position, and the position after it."""
        epoch, window, batch = position
        while batch >= len(
            self._window(epoch, window)
        ):  # the end of a window, or one whose rows were all left out
            batch, window = 0, window + 1
            if window * WINDOW >= self.num_examples:
                epoch, window = epoch + 1, 0
        return self._window(epoch, window)[batch], Position(epoch, window, batch + 1)

    def epoch(self) -> list[Rows]:
        """Every micro-batch of the first epoch, for validation."""
        return [b for w in range(-(-self.num_examples // WINDOW)) for b in self._plan(0, w)]

    def _fits(self, sizes: Rows) -> NDArray[np.bool_]:
        if not self.limits.max_lengths:
            return np.ones(len(sizes), np.bool_)
        fits: NDArray[np.bool_] = np.all(sizes <= np.array(self.limits.max_lengths[: sizes.shape[1]]), axis=1)
        return fits

    def _plan(self, epoch: int, window: int) -> list[Rows]:
        rows = self._members(epoch, window)
        # Sorted row numbers make for sequential reads of the index; the shuffle below undoes the order.
        sizes = self._gather(rows)
        fits = self._fits(sizes)
        rows, sizes = rows[fits], sizes[fits]
        rng = np.random.Generator(np.random.Philox(counter=[0, 1, epoch, window], key=[self.seed, 0]))
        order = rng.permutation(len(rows)) if self.shuffle else np.arange(len(rows))
        order = order[
            np.lexsort(tuple(sizes[order].T))
        ]  # by the last side first: decoding costs more than reading
        rows, longest = rows[order], sizes[order].max(1)
        batches = self._cut(rows, longest)
        return [batches[i] for i in rng.permutation(len(batches))] if self.shuffle else batches

    def _cut(self, rows: Rows, longest: Rows) -> list[Rows]:
        batches, start = [], 0
        while start < len(rows):
            most = min(self.limits.max_tokens // int(longest[start]), self.limits.batch_size or len(rows))
            widest = np.maximum.accumulate(longest[start : start + most])
            count = int(
                np.searchsorted(widest * np.arange(1, len(widest) + 1), self.limits.max_tokens, side="right")
            )
            batches.append(rows[start : start + count])
            start += count
        return batches

    def _members(self, epoch: int, window: int) -> Rows:
        if self.num_examples <= WINDOW:
            return np.arange(self.num_examples)
        blocks = np.arange(-(-self.num_examples // BLOCK))
        if self.shuffle:
            blocks = np.random.Generator(
                np.random.Philox(counter=[0, 2, epoch, 0], key=[self.seed, 0])
            ).permutation(blocks)
        mine = np.sort(blocks[window * (WINDOW // BLOCK) : (window + 1) * (WINDOW // BLOCK)])
        rows = (mine[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
        return rows[rows < self.num_examples]

    def _gather(self, rows: Rows) -> Rows:
        cuts = np.flatnonzero(np.diff(rows) != 1) + 1
        return np.concatenate([self.sizes(int(run[0]), int(run[-1]) + 1) for run in np.split(rows, cuts)])
