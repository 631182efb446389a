"""Beam search: one beam for each sentence (Graves 2012), or diverse groups (Vijayakumar et al. 2016).

Of the 2W best continuations of a sentence's W rows, those among the first W that end the sentence are
finished hypotheses, and the first W that do not end it are the next rows. (At most W of the 2W can end it,
one for each row.)

With G groups, each group is a beam of W/G rows that chooses after the groups before it:
`diverse_beam_strength` is subtracted from the score of a piece for each row of an earlier group that
has just been extended by it. As in the paper, the penalty affects only the choice in one step and does
not accumulate, so hypotheses keep the model's own scores.

Shapes: S sentences, W rows (beams) each, V vocabulary size, F finished hypotheses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from masscli.generation.config import GenerationConfig
from masscli.generation.topk import best_in_rows


@dataclass(frozen=True, slots=True)
class StepSelection:
    """What a search strategy has selected in one step for S sentences of W rows (beams) each.

    Parents are rows of the previous step, numbered from 0 within their sentence. Sums are sums of
    log-probabilities.
    """

    ended: Tensor
    """(S, F) sums of the F hypotheses of each sentence that end in this step; -inf where there are fewer."""
    ended_parents: Tensor
    """(S, F) the row that each hypothesis in `ended` ends."""
    sums: Tensor
    """(S, W) sums of the rows of the next step; -inf for rows that are not used."""
    parents: Tensor
    """(S, W) the row that each row of the next step continues."""
    pieces: Tensor
    """(S, W) the piece that each row of the next step appends."""


class Beam:
    """The search strategy that keeps the best continuations of each sentence, in one or several groups.

    Each sentence has `config.beam` rows (W), divided among `config.diverse_beam_groups` groups. `eos` is the
    id of the end symbol.
    """

    def __init__(self, config: GenerationConfig, eos: int) -> None:
        self.width = config.beam
        self.groups = config.diverse_beam_groups
        self.strength = config.diverse_beam_strength
        self.eos = eos

    def start(self, sentences: int, device: torch.device) -> Tensor:
        """Return the sums of log-probabilities (S, W) of S sentences with W rows before the first step.

        In each diverse group of a sentence (without diverse groups: in each sentence) the first row has 0 and
        the others have -inf, because the rows of a group are still the same.
        """
        sums = torch.full((sentences, self.width), -torch.inf, device=device)
        # Otherwise every row would propose the same continuations, and the beam would contain
        # duplicates.
        sums[:, :: self.width // self.groups] = 0.0
        return sums

    def keep(self, sentences: Tensor) -> None:
        """Do nothing when sentences are dropped, because this strategy has no state for each sentence."""

    def select(self, sums: Tensor, scores: Tensor) -> StepSelection:
        """Select the rows of the next step, and the hypotheses that end in this one.

        `sums` (S, W) are the sums of log-probabilities of the rows so far, and `scores` (S, W, V) the
        log-probabilities of their next pieces.
        """
        if self.groups == 1:
            return self._select_in_group(sums, scores, None)
        size = self.width // self.groups
        # (S, V): how many rows of earlier groups were extended by each piece in this step.
        uses = torch.zeros_like(scores[:, 0])
        ended, ended_parents, kept_sums, parents, pieces = [], [], [], [], []
        for first in range(0, self.width, size):
            rows = slice(first, first + size)
            # The first group has no earlier group, so it is a plain beam search.
            earlier_uses = uses if first > 0 else None
            selection = self._select_in_group(
                sums[:, rows], scores[:, rows], earlier_uses
            )
            # Rows that do not exist have sums of -inf, and their pieces do not count as used.
            uses.scatter_add_(
                1, selection.pieces, (selection.sums > -torch.inf).to(uses.dtype)
            )
            ended.append(selection.ended)
            kept_sums.append(selection.sums)
            pieces.append(selection.pieces)
            # Parents count from 0 within a group, and within the sentence in the result.
            ended_parents.append(selection.ended_parents + first)
            parents.append(selection.parents + first)
        return StepSelection(
            ended=torch.cat(ended, 1),
            ended_parents=torch.cat(ended_parents, 1),
            sums=torch.cat(kept_sums, 1),
            parents=torch.cat(parents, 1),
            pieces=torch.cat(pieces, 1),
        )

    def _select_in_group(
        self, sums: Tensor, scores: Tensor, uses: Tensor | None
    ) -> StepSelection:
        """Select the continuations within one group, from the `sums` and `scores` of its rows.

        `uses` (S, V) counts how many rows of earlier groups took each piece in this step, which is penalized;
        None means no penalty. Rows are numbered from 0 within the group.
        """
        size = sums.shape[1]
        steered = scores
        if uses is not None:
            steered = scores - self.strength * uses[:, None]
        # At most `size` of these can end the sentence, so at least `size` continue.
        best_sums, parents, pieces = best_in_rows(sums, steered, 2 * size)
        if uses is not None:
            # The penalty only affects the choice; hypotheses keep the model's own scores.
            sentence = torch.arange(len(sums), device=sums.device)[:, None]
            best_sums = sums.gather(1, parents) + scores[sentence, parents, pieces]
        ends = pieces == self.eos
        # A stable sort puts the continuations that do not end first, in the order of their sums.
        continuing = ends.int().sort(dim=1, stable=True).indices[:, :size]
        return StepSelection(
            ended=best_sums[:, :size].masked_fill(~ends[:, :size], -torch.inf),
            ended_parents=parents[:, :size],
            sums=best_sums.gather(1, continuing),
            parents=parents.gather(1, continuing),
            pieces=pieces.gather(1, continuing),
        )
