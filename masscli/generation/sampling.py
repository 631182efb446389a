"""Sampling: each row of a sentence is drawn on its own, from the likeliest k pieces (Fan et al. 2018), from the likeliest pieces that hold
probability p (Holtzman et al. 2020), or from all; the temperature divides logits first.

The random numbers of a sentence come from the seed and the sentence's own key, so they depend on nothing else in its batch.  Scores are the
model's own, before temperature and cuts.
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
    """Sampling's part of the search loop.  `keys` are one whole number per sentence, `steps` the most pieces, the end symbol counted."""

    def __init__(
        self,
        config: GenerationConfig,
        eos: int,
        seed: int,
        keys: Sequence[int],
        steps: int,
        device: torch.device,
    ) -> None:
        self.config, self.eos, self.step = config, eos, 0
        draws = [np.random.default_rng([seed, key]).random((steps, config.beam)) for key in keys]
        self.draws = torch.from_numpy(np.stack(draws)).to(device)  # (S, steps, W)

    def start(self, sentences: int, device: torch.device) -> Tensor:
        """Sums (S, W) before the first step."""
        return torch.zeros((sentences, self.config.beam), device=device)

    def keep(self, sentences: Tensor) -> None:
        """Only these sentences (indices) stay."""
        self.draws = self.draws[sentences]

    def select(self, sums: Tensor, scores: Tensor) -> StepSelection:
        """sums (S, W) so far, -inf for rows that have ended; scores (S, W, V) of this step."""
        pieces = self._draw(scores.flatten(0, 1), self.draws[:, self.step].flatten()).view_as(sums)
        self.step += 1
        sums = sums + scores.gather(2, pieces[..., None])[..., 0]
        ends = pieces == self.eos
        rows = torch.arange(sums.shape[1], device=sums.device).expand_as(sums)
        return StepSelection(
            sums.masked_fill(~ends, -torch.inf), rows, sums.masked_fill(ends, -torch.inf), rows, pieces
        )

    def _draw(self, scores: Tensor, uniform: Tensor) -> Tensor:
        """A piece (N,) for each row of scores (N, V), by inversion of its distribution function at `uniform` (N,)."""
        ids: Tensor | None = None
        if self.config.sampling_topk:
            k = min(self.config.sampling_topk, scores.shape[1])
            scores, _, ids = best_in_rows(scores.new_zeros(len(scores), 1), scores[:, None], k)
        elif self.config.sampling_topp < 1:
            scores, ids = scores.sort(dim=1, descending=True, stable=True)
        mass = torch.softmax(scores.double() / self.config.temperature, 1).nan_to_num(
            0.0
        )  # NaN: a row with nothing left to draw
        if self.config.sampling_topp < 1:
            mass = mass.masked_fill(mass.cumsum(1) - mass >= self.config.sampling_topp, 0.0)
        below = mass.cumsum(1)
        drawn = torch.searchsorted(below, uniform[:, None] * below[:, -1:], right=True).clamp(
            max=mass.shape[1] - 1
        )
        return (drawn if ids is None else ids.gather(1, drawn))[:, 0]
