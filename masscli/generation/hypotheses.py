"""Finished hypotheses: the K best of each sentence, as tensors, so that no search step loops over rows.

A hypothesis of n pieces and the end symbol scores sum / (n + 1) ** lenpen, where the sum is that of the
log-probabilities of all n + 1.

Shapes: S sentences, K hypotheses kept for each, F hypotheses offered, C steps of capacity, t pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from masscli.data.batches.batch import Ids
from masscli.data.formats.pharaoh import Links


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One finished output with its score."""

    ids: tuple[int, ...]
    """The ids of its pieces, without the end symbol."""
    score: float
    """The score by which hypotheses are ranked: the higher the better."""
    token_scores: tuple[float, ...]
    """The log-probability of each piece and of the end symbol; empty if these are not known."""
    hit_max_len: bool
    """Whether a generated output has as many pieces as its length limit allows, so that its end was
    forced."""
    links: Links = ()
    """The links of its pieces to those of the source, if they were asked for."""

    def without_first(self, count: int) -> Hypothesis:
        """Return a copy of the hypothesis without its first `count` pieces, with the same score."""
        return replace(
            self, ids=self.ids[count:], token_scores=self.token_scores[count:]
        )


def pair_with_sources(
    sources: Sequence[Ids], n_best: Sequence[Sequence[Hypothesis]]
) -> tuple[list[Ids], list[Ids]]:
    """Return all hypotheses of all sources as pairs: the source of each of them, and its own pieces.

    `n_best` has the hypotheses of each source, whose order is kept.
    """
    repeated: list[Ids] = []
    outputs: list[Ids] = []
    for ids, hypotheses in zip(sources, n_best, strict=True):
        for hypothesis in hypotheses:
            repeated.append(ids)
            outputs.append(np.asarray(hypothesis.ids, np.int64))
    return repeated, outputs


class HypothesisPool:
    """The K best finished hypotheses of each of S sentences, best first; of equal ones, the earlier one.

    `size` is K, `capacity` the maximum number of pieces (end symbol included) of a hypothesis, and
    `lenpen` the power of the length by which sums of log-probabilities are divided.
    """

    def __init__(
        self,
        sentences: int,
        size: int,
        capacity: int,
        lenpen: float,
        device: torch.device,
    ) -> None:
        self.size = size
        self.lenpen = lenpen
        # (S, K), -inf where there is no hypothesis. They are float64, because different sums may become equal
        # in fp32 when they are divided by the length.
        self.scores = torch.full(
            (sentences, size), -torch.inf, dtype=torch.float64, device=device
        )
        # (S, K), the end symbol not counted.
        self.lengths = torch.zeros((sentences, size), dtype=torch.int64, device=device)
        # (S, K, C)
        self.pieces = torch.zeros(
            (sentences, size, capacity), dtype=torch.int64, device=device
        )
        self.piece_scores = torch.zeros((sentences, size, capacity), device=device)
        # (S,) how many hypotheses have finished so far, kept or not.
        self.ended = torch.zeros(sentences, dtype=torch.int64, device=device)

    def add(self, sums: Tensor, pieces: Tensor, piece_scores: Tensor) -> None:
        """Add F finished hypotheses of each sentence to the pool, which keeps the K best of all, in place.

        `sums` (S, F) are their sums of log-probabilities, -inf for none; `pieces` are (S, F, t), and
        `piece_scores` (S, F, t + 1) the log-probabilities of the pieces and of the end symbol.
        """
        t = pieces.shape[2]
        self.ended += (sums > -torch.inf).sum(1)
        scores = torch.cat([self.scores, self.normalize(sums, t + 1)], 1)
        # A stable sort keeps hypotheses that finished earlier ahead of equal ones.
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        order = order[:, : self.size]
        self.scores = scores[:, : self.size]
        # Histories follow the order of the scores.
        lengths = torch.cat(
            [self.lengths, torch.full_like(sums, t, dtype=torch.int64)], 1
        )
        self.lengths = lengths.gather(1, order)
        all_pieces = torch.cat([self.pieces[..., :t], pieces], 1)
        self.pieces[..., :t] = _gather_rows(all_pieces, order)
        all_scores = torch.cat([self.piece_scores[..., : t + 1], piece_scores], 1)
        self.piece_scores[..., : t + 1] = _gather_rows(all_scores, order)

    def normalize(self, sums: Tensor, length: int | Tensor) -> Tensor:
        """Return sums of log-probabilities divided by length ** lenpen, in float64 and of the same shape.

        `length` counts the end symbol; a tensor of lengths must be float64.
        """
        return sums.double() / length**self.lenpen

    def unbeatable(self, best_sums: Tensor, shortest: int, longest: Tensor) -> Tensor:
        """Return which sentences are done, since no running hypothesis can enter their pool: (S,) bool.

        `best_sums` (S,) is an upper bound of the sum that a hypothesis can reach, `shortest` and `longest`
        (S,) are bounds of its length, end symbol counted. At a constant sum the score is monotone in the
        length, so it is largest at one of the two.
        """
        at_shortest = self.normalize(best_sums, shortest)
        at_longest = self.normalize(best_sums, longest)
        # Equal scores do not enter either, since earlier hypotheses win ties. A pool that is not full has
        # -inf in its last place.
        return torch.maximum(at_shortest, at_longest) <= self.scores[:, -1]

    def hypotheses(
        self, sentences: list[int], limits: list[int]
    ) -> list[list[Hypothesis]]:
        """Return the hypotheses of the sentences with these indices, best first.

        `limits` are the length limits of these sentences, in pieces, which `Hypothesis.hit_max_len` is about.
        """
        # Four transfers from the device for all sentences, instead of four for each.
        chosen = torch.tensor(sentences, device=self.scores.device)
        scores = self.scores[chosen].tolist()
        lengths = self.lengths[chosen].tolist()
        pieces = self.pieces[chosen].tolist()
        piece_scores = self.piece_scores[chosen].tolist()
        results = []
        for i, limit in enumerate(limits):
            hypotheses = []
            for k, score in enumerate(scores[i]):
                if score == -torch.inf:
                    continue
                n = lengths[i][k]
                ids = tuple(pieces[i][k][:n])
                token_scores = tuple(piece_scores[i][k][: n + 1])
                hypotheses.append(
                    Hypothesis(ids, score, token_scores, hit_max_len=n >= limit)
                )
            results.append(hypotheses)
        return results

    def keep(self, sentences: Tensor) -> None:
        """Drop the hypotheses of all sentences but those with these indices (1-D)."""
        self.scores = self.scores[sentences]
        self.lengths = self.lengths[sentences]
        self.pieces = self.pieces[sentences]
        self.piece_scores = self.piece_scores[sentences]
        self.ended = self.ended[sentences]


def _gather_rows(block: Tensor, order: Tensor) -> Tensor:
    """Return the K rows of each `block` (S, M, C) whose indices are in `order` (S, K): (S, K, C)."""
    # gather needs the index of a row once for each of its columns.
    index = order[..., None].expand(-1, -1, block.shape[2])
    return block.gather(1, index)
