"""Which continuations a beam search keeps: plain (Graves 2012) or in diverse groups (Vijayakumar et al. 2016).

Of the 2W best continuations of a sentence's W rows, those among the first W that end the sentence are finished hypotheses; the first W
that do not end it are the next rows.  (At most W of the 2W can end it, one for each row.)

In G groups, each is a beam of W/G rows that chooses after the groups before it: `diverse_beam_strength` is taken from the score of a piece
for each row of an earlier group that has just been extended by it.  As in the paper the penalty steers one step's choice and is not
carried on, so hypotheses keep the model's own scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from masscli.generation.config import GenerationConfig
from masscli.generation.topk import best_in_rows


@dataclass(frozen=True, slots=True)
class StepSelection:
    """One step's decision for S sentences of W rows.

    `ended` (S, F) sums of the hypotheses that end here, -inf for none, `ended_parents` (S, F) the rows they end; `sums`, `parents`,
    `pieces` (S, W): the rows that go on.  Parents count from 0 within the sentence.
    """

    ended: Tensor
    ended_parents: Tensor
    sums: Tensor
    parents: Tensor
    pieces: Tensor


class Beam:
    """Beam search's part of the search loop."""

    def __init__(self, config: GenerationConfig, eos: int) -> None:
        self.width, self.groups, self.eos = config.beam, config.diverse_beam_groups, eos
        self.strength = config.diverse_beam_strength

    def start(self, sentences: int, device: torch.device) -> Tensor:
        """Sums (S, W) before the first step: the rows of a group are still the same, so only its first is alive."""
        sums = torch.full((sentences, self.width), -torch.inf, device=device)
        sums[:, :: self.width // self.groups] = 0.0
        return sums

    def keep(self, sentences: Tensor) -> None:
        """Nothing here depends on the sentence."""

    def select(self, sums: Tensor, scores: Tensor) -> StepSelection:
        """sums (S, W) so far, scores (S, W, V) of this step."""
        if self.groups == 1:
            return self._group(sums, scores, None)
        size = self.width // self.groups
        taken = torch.zeros_like(scores[:, 0])
        choices = []
        for first in range(0, self.width, size):
            rows = slice(first, first + size)
            choice = self._group(sums[:, rows], scores[:, rows], taken if first else None)
            taken.scatter_add_(1, choice.pieces, (choice.sums > -torch.inf).to(taken.dtype))
            choices.append((choice, first))
        return StepSelection(
            torch.cat([c.ended for c, _ in choices], 1),
            torch.cat([c.ended_parents + first for c, first in choices], 1),
            torch.cat([c.sums for c, _ in choices], 1),
            torch.cat([c.parents + first for c, first in choices], 1),
            torch.cat([c.pieces for c, _ in choices], 1),
        )

    def _group(self, sums: Tensor, scores: Tensor, taken: Tensor | None) -> StepSelection:
        size = sums.shape[1]
        steered = scores if taken is None else scores - self.strength * taken[:, None]
        found, parents, pieces = best_in_rows(sums, steered, 2 * size)
        if taken is not None:
            sentence = torch.arange(len(sums), device=sums.device)[:, None]
            found = sums.gather(1, parents) + scores[sentence, parents, pieces]
        ends = pieces == self.eos
        first = ends.int().sort(dim=1, stable=True).indices[:, :size]
        return StepSelection(
            found[:, :size].masked_fill(~ends[:, :size], -torch.inf),
            parents[:, :size],
            found.gather(1, first),
            parents.gather(1, first),
            pieces.gather(1, first),
        )
