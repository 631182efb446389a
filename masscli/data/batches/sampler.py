"""The order of examples: a pure function of (sizes, seed, epoch), in micro-batches within a token budget.

The sampler handles only example numbers and has no state: `BatchSampler.at` returns the micro-batch at
a `Position`. Up to 2^20 examples are shuffled as a whole. If there are more, blocks of 4,096
consecutive examples are shuffled over the corpus, and examples within windows of 2^20, so that memory
stays bounded. Within a window examples are sorted by length (ties at random) and cut into
micro-batches, and these are shuffled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.core.rng import Purpose, make_generator

WINDOW = 2**20
"""Number of examples that are ordered at a time."""
BLOCK = 2**12
"""Number of consecutive examples that are shuffled as a unit if a corpus has several windows; it
divides WINDOW."""

Numbers = NDArray[np.int64]


def longest_sides(sizes: Numbers) -> Numbers:
    """Return the length (N,) of the longest side of each example, from the sizes (N, sides) of examples."""
    # A loop over sides is several times as fast as a maximum over an axis of length one or two.
    longest = sizes[:, 0]
    for side in sizes.T[1:]:
        longest = np.maximum(longest, side)
    return longest


class Position(NamedTuple):
    """A place in the order of one stream: the epoch, window and number of the micro-batch that comes next."""

    epoch: int = 0
    window: int = 0
    batch: int = 0


class BatchLimits(NamedTuple):
    """The limits on a micro-batch and on a single example."""

    max_tokens: int
    """Maximum size of a micro-batch in tokens, padding included: the number of its examples times the
    tokens that the longest of them takes up."""
    batch_size: int | None = None
    """Maximum number of examples in a micro-batch; None sets no limit."""
    max_lengths: tuple[int, ...] = ()
    """Maximum number of tokens of each side (source, target) that the model can read; empty sets no limit."""
    batch_size_multiple: int = 1
    """The number of examples of a micro-batch is a multiple of this, unless it is smaller."""
    length_multiple: int = 1
    """Lengths are rounded up to a multiple of this number of tokens, since batches are padded to it."""
    shortening_options: str = "--max-source-positions and --max-target-positions"
    """The options that make examples shorter, for the hint of an error."""


class BatchSampler:
    """Cuts the examples of a stream into micro-batches, and orders them.

    `sizes(start, stop)` returns the lengths (stop - start, sides) of examples. Examples with a side above
    `limits.max_lengths` are left out, and `skipped` counts them. `name` is the stream that messages name.
    Without `shuffle` examples are sorted by the length of their last side, then of the one before it.
    `batch_lengths` takes sizes (N, sides) and returns the number of tokens (N,) that each example takes up in
    a micro-batch, by default those of its longest side.

    Raises MasscliError if no example is left, or if one does not fit `limits.max_tokens` alone.
    """

    def __init__(
        self,
        num_examples: int,
        sizes: Callable[[int, int], Numbers],
        limits: BatchLimits,
        seed: int,
        name: str,
        shuffle: bool = True,
        batch_lengths: Callable[[Numbers], Numbers] = longest_sides,
    ) -> None:
        self.name = name
        self.num_examples = num_examples
        self.sizes = sizes
        self.limits = limits
        self.seed = seed
        self.shuffle = shuffle
        self.batch_lengths = batch_lengths
        self.skipped = 0
        longest = 0
        shortest = np.iinfo(np.int64).max
        # Sizes are read a window at a time, so that memory stays bounded.
        for start in range(0, num_examples, WINDOW):
            window_sizes = sizes(start, min(num_examples, start + WINDOW))
            fits = self._fits(window_sizes)
            skipped = len(fits) - int(np.count_nonzero(fits))
            self.skipped += skipped
            # For the hint of the error below.
            if skipped:
                shortest = min(shortest, int(longest_sides(window_sizes).min()))
                window_sizes = window_sizes[fits]
            longest = max(longest, int(batch_lengths(window_sizes).max(initial=0)))
        if num_examples == 0:
            raise MasscliError(f"stream {name}: has no examples", "the text is empty")
        if self.skipped == num_examples:
            raise MasscliError(
                f"stream {name}: all {num_examples} examples are too long",
                f"the shortest has {shortest} tokens: raise --max-source-positions and "
                "--max-target-positions, or choose a larger model",
            )
        # An example is padded as a batch is.
        longest += -longest % limits.length_multiple
        if longest > limits.max_tokens:
            raise MasscliError(
                f"stream {name}: an example of {longest} tokens does not fit "
                f"--max-tokens {limits.max_tokens}",
                f"raise --max-tokens to {longest} or more, or lower {limits.shortening_options}",
            )
        # The loader plans ahead of the trainer, so the two may be in adjacent windows.
        self._window = lru_cache(maxsize=2)(self._plan_window)

    def at(self, position: Position) -> tuple[Numbers, Position]:
        """Return the numbers of the examples of the micro-batch at a position, and the position after it.

        A position at the end of a window means the start of the next one, and at the end of an epoch
        that of the next epoch.
        """
        epoch, window, batch = position
        # Continue with the next window at the end of one, and skip windows whose examples were all left
        # out.
        while batch >= len(self._window(epoch, window)):
            batch = 0
            window += 1
            if window * WINDOW >= self.num_examples:
                window = 0
                epoch += 1
        return self._window(epoch, window)[batch], Position(epoch, window, batch + 1)

    def with_limits(self, limits: BatchLimits) -> BatchSampler:
        """Return a sampler of the same examples with other limits."""
        return BatchSampler(
            self.num_examples,
            self.sizes,
            limits,
            self.seed,
            self.name,
            self.shuffle,
            self.batch_lengths,
        )

    def batches_in_window(self, position: Position) -> int:
        """Return the number of micro-batches in the window that contains a position."""
        return len(self._window(position.epoch, position.window))

    def estimate_batches(self) -> int:
        """Return about how many micro-batches an epoch has; exactly if there is a single window."""
        windows = self.num_examples / min(self.num_examples, WINDOW)
        return round(windows * self.batches_in_window(Position()))

    def epoch(self) -> list[Numbers]:
        """Return all micro-batches of the first epoch (epoch 0), in order, as validation needs them."""
        batches = []
        for window in range(-(-self.num_examples // WINDOW)):
            batches += self._plan_window(0, window)
        return batches

    def _fits(self, sizes: Numbers) -> NDArray[np.bool_]:
        """Return (N,) for each example, of sizes (N, sides), whether it is within `limits.max_lengths`."""
        fits = np.ones(len(sizes), np.bool_)
        # Examples of one side have no limit for a target.
        for side, max_length in zip(sizes.T, self.limits.max_lengths, strict=False):
            fits &= side <= max_length
        return fits

    def _plan_window(self, epoch: int, window: int) -> list[Numbers]:
        """Return the micro-batches of a window, as numbers of examples, in their order."""
        numbers = self._window_members(epoch, window)
        sizes = self._gather_sizes(numbers)
        fits = self._fits(sizes)
        numbers = numbers[fits]
        sizes = sizes[fits]
        # The generator depends only on epoch and window, so a run can continue from any position.
        rng = make_generator(self.seed, Purpose.EXAMPLE_ORDER, epoch, window)
        # Shuffling first puts examples of equal length into random order.
        order = np.arange(len(numbers))
        if self.shuffle:
            order = rng.permutation(len(numbers))
        # Sort by the last side first, because decoding costs more than reading. NumPy sorts numbers of two
        # bytes by their digits, ten times as fast as longer ones.
        keys = sizes
        if sizes.max(initial=0) <= np.iinfo(np.uint16).max:
            keys = sizes.astype(np.uint16)
        order = order[np.lexsort(tuple(keys[order].T))]
        batches = self._cut_into_batches(
            numbers[order], self.batch_lengths(sizes)[order]
        )
        if not self.shuffle:
            return batches
        # Without this, all short examples would come before the long ones.
        return [batches[i] for i in rng.permutation(len(batches))]

    def _cut_into_batches(self, numbers: Numbers, lengths: Numbers) -> list[Numbers]:
        """Cut the sorted examples into micro-batches, each as large as the limits allow.

        `lengths` are the numbers of tokens that the examples take up in a micro-batch.
        """
        multiple = self.limits.length_multiple
        lengths = -(-lengths // multiple) * multiple
        batches = []
        start = 0
        while start < len(numbers):
            # The batch is at least as wide as its first example, so it cannot hold more than this.
            most = self.limits.max_tokens // int(lengths[start])
            most = min(most, self.limits.batch_size or len(numbers))
            # The padded size of the batch if it ends after the first, second, ... example.
            widths = np.maximum.accumulate(lengths[start : start + most])
            padded_sizes = widths * np.arange(1, len(widths) + 1)
            # Padded sizes only grow, so the first that is too large can be found by bisection.
            count = int(
                np.searchsorted(padded_sizes, self.limits.max_tokens, side="right")
            )
            # As in fairseq, a batch that is smaller than the multiple stays as it is.
            if count >= self.limits.batch_size_multiple:
                count -= count % self.limits.batch_size_multiple
            batches.append(numbers[start : start + count])
            start += count
        return batches

    def _window_members(self, epoch: int, window: int) -> Numbers:
        """Return the numbers of the examples in a window, sorted."""
        if self.num_examples <= WINDOW:
            return np.arange(self.num_examples)
        blocks = np.arange(-(-self.num_examples // BLOCK))
        if self.shuffle:
            # All windows of an epoch cut the same permutation, so that each block is in one of them.
            rng = make_generator(self.seed, Purpose.BLOCK_ORDER, epoch)
            blocks = rng.permutation(blocks)
        per_window = WINDOW // BLOCK
        # Sorted numbers make for sequential reads of the index; the shuffle of a window undoes the order.
        window_blocks = np.sort(blocks[window * per_window : (window + 1) * per_window])
        numbers = (window_blocks[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
        # The last block of the corpus may not be full.
        return numbers[numbers < self.num_examples]

    def _gather_sizes(self, numbers: Numbers) -> Numbers:
        """Return the sizes of examples with the sorted `numbers`, reading consecutive ones together."""
        boundaries = np.flatnonzero(np.diff(numbers) != 1) + 1
        # A run is one read of the index.
        runs = np.split(numbers, boundaries)
        return np.concatenate(
            [self.sizes(int(run[0]), int(run[-1]) + 1) for run in runs]
        )
