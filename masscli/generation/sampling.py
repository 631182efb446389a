"""Sampling: each row of a sentence is drawn independently.

A piece is drawn from the k most likely ones (Fan et al. 2018), from the most likely ones with total
probability p (Holtzman et al. 2020), or from all; the temperature divides logits first. The random
numbers of a sentence follow from its own seeds, so they depend on nothing else in its batch. Scores are
the model's own, before temperature and truncation.

Shapes: S sentences, W rows each, N = S * W, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from masscli.generation.beam import StepSelection
from masscli.generation.config import GenerationConfig
from masscli.generation.topk import best_in_rows


class SamplingStrategy:
    """The search strategy that draws each next piece at random, independently for each row.

    `seeds` has, for each sentence, the whole numbers that decide what is drawn. `steps` is the most pieces of
    an output, end symbol counted, and `eos` the id of the end symbol.
    """

    def __init__(
        self,
        config: GenerationConfig,
        eos: int,
        seeds: Sequence[Sequence[int]],
        steps: int,
        device: torch.device,
    ) -> None:
        self.config = config
        self.eos = eos
        self.step = 0
        # All numbers are drawn beforehand, so they depend only on the seeds of the sentence.
        draws = [
            np.random.default_rng(numbers).random((steps, config.beam))
            for numbers in seeds
        ]
        # (S, steps, W): a number in [0, 1) for every piece that may be drawn.
        self.draws = torch.from_numpy(np.stack(draws)).to(device)

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
            scores.flatten(0, 1), self.draws[:, self.step].flatten()
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
        """Draw a piece for each row of log-probabilities (N, V), after temperature and truncation: (N,) ids.

        `uniform` (N,) are random numbers in [0, 1), at which the cumulative distribution of each row is
        inverted.
        """
        piece_ids: Tensor | None = None
        if self.config.sampling_topk:
            k = min(self.config.sampling_topk, scores.shape[1])
            # The rows are passed as sentences of one row each, so that the best pieces are those of each row.
            scores, _, piece_ids = best_in_rows(
                scores.new_zeros(len(scores), 1), scores[:, None], k
            )
        elif self.config.sampling_topp < 1:
            # A stable sort breaks ties by piece, on any device.
            scores, piece_ids = scores.sort(dim=1, descending=True, stable=True)
        # Sums over a large vocabulary must be exact enough to invert them, hence float64.
        probabilities = torch.softmax(scores.double() / self.config.temperature, 1)
        # NaN means that a row has nothing left to draw.
        probabilities = probabilities.nan_to_num(0.0)
        if self.config.sampling_topp < 1:
            # A piece is kept if those before it have less than p in total, so the most likely one is
            # always kept.
            probability_before = probabilities.cumsum(1) - probabilities
            probabilities = probabilities.masked_fill(
                probability_before >= self.config.sampling_topp, 0.0
            )
        # After truncation the total is below 1, so the random number is scaled to it.
        cumulative = probabilities.cumsum(1)
        drawn = torch.searchsorted(
            cumulative, uniform[:, None] * cumulative[:, -1:], right=True
        )
        # Rounding may put a number beyond the last sum.
        drawn = drawn.clamp(max=probabilities.shape[1] - 1)
        if piece_ids is not None:
            drawn = piece_ids.gather(1, drawn)
        return drawn[:, 0]
