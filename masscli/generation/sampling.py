"""Sampling: each row of a sentence is drawn independently.

A piece is drawn from the k most likely ones (Fan et al. 2018), from the most likely ones with total
probability p (Holtzman et al. 2020), or from all; the temperature divides logits first. The random
numbers of a sentence follow from its own seeds, so they depend on nothing else in its batch. Scores are
the model's own, before temperature and truncation.

The ids are the leaves of a binary tree. A draw begins at its root, and decides at each node, with a random
number of its own, in which half of the ids the piece lies. Log-probabilities that differ by d, as rounding in
a batch of another shape makes them, then change a draw with a probability of about d. If the cumulative
distribution was inverted at a single random number, d would move its steps at all V pieces, and the
probability would be up to V times as large.

Shapes: S sentences, W rows each, N = S * W, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from masscli.generation.beam import StepSelection
from masscli.generation.config import GenerationConfig
from masscli.generation.topk import best_in_rows

BITS = 24
"""Number of random numbers for each draw; an id must have no more bits."""


class SamplingStrategy:
    """The search strategy that draws each next piece at random, independently for each row.

    `seeds` has, for each sentence, the whole numbers that decide what is drawn. `steps` is the most pieces of
    an output, end symbol counted, and `eos` the place of the end symbol among the V pieces that have scores.
    `ids` (V,), ascending, are their ids: those of the whole vocabulary, or the candidates of a shortlist.
    """

    def __init__(
        self,
        config: GenerationConfig,
        eos: int,
        seeds: Sequence[Sequence[int]],
        steps: int,
        ids: Tensor,
    ) -> None:
        self.config = config
        self.eos = eos
        self.ids = ids
        self.levels = int(ids[-1]).bit_length()
        self.step = 0
        # All numbers are drawn beforehand, so they depend only on the seeds of the sentence.
        shape = (steps, config.beam, BITS)
        draws = [
            np.random.default_rng(numbers).random(shape, np.float32)
            for numbers in seeds
        ]
        # (S, steps, W, BITS): numbers in [0, 1), one for each bit of the ids of a piece that may be drawn.
        self.draws = torch.from_numpy(np.stack(draws)).to(ids.device)

    def start(self, sentences: int, device: torch.device) -> Tensor:
        """Return the sums of log-probabilities (S, W) of S sentences with W rows before the first step: 0."""
        return torch.zeros((sentences, self.config.beam), device=device)

    def keep(self, sentences: Tensor) -> None:
        """Drop the random numbers of all sentences but those with these indices (1-D)."""
        self.draws = self.draws[sentences]

    def select(self, sums: Tensor, scores: Tensor) -> StepSelection:
        """Draw the next piece of each row, and return the rows that end and those that continue.

        `sums` (S, W) are the sums of log-probabilities of the rows so far, -inf for rows that have ended, and
        `scores` (S, W, V) the log-probabilities of their next pieces.
        """
        pieces = self._draw(
            scores.flatten(0, 1), self.draws[:, self.step].flatten(0, 1)
        ).view_as(sums)
        self.step += 1
        sums = sums + scores.gather(2, pieces[..., None])[..., 0]
        ends = pieces == self.eos
        rows = torch.arange(sums.shape[1], device=sums.device).expand_as(sums)
        return StepSelection(
            ended=sums.masked_fill(~ends, -torch.inf),
            ended_parents=rows,
            sums=sums.masked_fill(ends, -torch.inf),
            parents=rows,
            pieces=pieces,
        )

    def _draw(self, scores: Tensor, uniform: Tensor) -> Tensor:
        """Draw a piece for each row of log-probabilities (N, V), after temperature and truncation.

        `uniform` (N, BITS) are random numbers in [0, 1). Return the places (N,) of the pieces among the V.
        """
        pieces: Tensor | None = None
        if self.config.sampling_topk:
            k = min(self.config.sampling_topk, scores.shape[1])
            # The rows are passed as sentences of one row each, so that the best pieces are those of each row.
            scores, _, pieces = best_in_rows(
                scores.new_zeros(len(scores), 1), scores[:, None], k
            )
        elif self.config.sampling_topp < 1:
            # A stable sort breaks ties by piece, on any device.
            scores, pieces = scores.sort(dim=1, descending=True, stable=True)
        probabilities = torch.softmax(scores / self.config.temperature, 1)
        # NaN means that a row has nothing left to draw.
        probabilities = probabilities.nan_to_num(0.0)
        if pieces is None:
            return _descend(probabilities, self.ids, uniform, self.levels)
        if self.config.sampling_topp < 1:
            # A piece is kept if those before it have less than p in total, so the most likely one is
            # always kept.
            before = probabilities.cumsum(1, dtype=torch.float64) - probabilities
            is_kept = before < self.config.sampling_topp
            probabilities = probabilities.masked_fill(~is_kept, 0.0)
            # Pieces that no row keeps need not be sorted again.
            size = int(is_kept.sum(1).amax())
            probabilities, pieces = probabilities[:, :size], pieces[:, :size]
        pieces, order = pieces.sort(dim=1)
        drawn = _descend(
            probabilities.gather(1, order), self.ids[pieces], uniform, self.levels
        )
        return pieces.gather(1, drawn[:, None])[:, 0]


def _descend(
    probabilities: Tensor, ids: Tensor, uniform: Tensor, levels: int
) -> Tensor:
    """Draw one of C pieces for each row of probabilities (N, C), and return its place (N,) among them.

    `ids` (C,) or (N, C) are the ids of the pieces, ascending, of `levels` bits at most. `uniform` (N, BITS)
    has a random number in [0, 1) for each bit. A row whose probabilities are all 0 gets any piece.
    """
    # Differences of these sums must be exact enough for the least likely pieces, hence float64.
    sums = F.pad(probabilities.cumsum(1, dtype=torch.float64), (1, 0))
    # (N, 1) each: the lowest id of a node of the tree, and the sums before its first and after its last
    # piece.
    lowest = torch.zeros_like(sums[:, :1], dtype=torch.int64)
    before, after = sums[:, :1], sums[:, -1:]
    for bit in reversed(range(levels)):
        middle = lowest + (1 << bit)
        between = sums.gather(1, torch.searchsorted(ids, middle))
        # An empty half is never chosen, since its sum is exactly 0 and random numbers are below 1.
        goes_right = uniform[:, bit, None] * (after - before) >= between - before
        lowest = torch.where(goes_right, middle, lowest)
        before = torch.where(goes_right, between, before)
        after = torch.where(goes_right, after, between)
    # A row without anything to draw ends beyond the last piece.
    drawn = torch.searchsorted(ids, lowest).clamp(max=probabilities.shape[1] - 1)
    return drawn[:, 0]
