"""Finished hypotheses: the K best of each sentence, kept in tensors, so that no step of the search loops over rows in Python.

A hypothesis of n pieces and the end symbol scores sum / (n + 1) ** lenpen, where the sum is over the log-probabilities of all n + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One output: pieces without the end symbol, its score, and the log-probability of each piece and of the end symbol.

    `hit_max_len`: the end symbol was forced by the length limit.
    """

    ids: tuple[int, ...]
    score: float
    token_scores: tuple[float, ...]
    hit_max_len: bool


class HypothesisPool:
    """The K best finished hypotheses of S sentences, best first; of equal ones the one that finished first.

    scores (S, K), -inf where there is none; lengths (S, K), the end symbol not counted; pieces and piece_scores (S, K, C); ended (S,) how
    many have finished so far, kept or not.
    """

    def __init__(self, sentences: int, size: int, capacity: int, lenpen: float, device: torch.device) -> None:
        self.size, self.lenpen = size, lenpen
        self.scores = torch.full((sentences, size), -torch.inf, dtype=torch.float64, device=device)
        self.lengths = torch.zeros((sentences, size), dtype=torch.int64, device=device)
        self.pieces = torch.zeros((sentences, size, capacity), dtype=torch.int64, device=device)
        self.piece_scores = torch.zeros((sentences, size, capacity), device=device)
        self.ended = torch.zeros(sentences, dtype=torch.int64, device=device)

    def add(self, sums: Tensor, pieces: Tensor, piece_scores: Tensor) -> None:
        """Offer F hypotheses per sentence: sums (S, F), -inf for none; pieces (S, F, t) and piece_scores (S, F, t + 1)."""
        t = pieces.shape[2]
        self.ended += (sums > -torch.inf).sum(1)
        scores, order = torch.cat([self.scores, self.normalise(sums, t + 1)], 1).sort(
            dim=1, descending=True, stable=True
        )
        self.scores, order = scores[:, : self.size], order[:, : self.size]
        lengths = torch.cat([self.lengths, torch.full_like(sums, t, dtype=torch.int64)], 1)
        self.lengths = lengths.gather(1, order)
        self.pieces[..., :t] = _rows(torch.cat([self.pieces[..., :t], pieces], 1), order)
        self.piece_scores[..., : t + 1] = _rows(
            torch.cat([self.piece_scores[..., : t + 1], piece_scores], 1), order
        )

    def normalise(self, sums: Tensor, length: int | Tensor) -> Tensor:
        """Sums of log-probabilities (S, F) -> scores in float64, for a length that counts the end symbol (a tensor of it in float64)."""
        return sums.double() / length**self.lenpen

    def unbeatable(self, best: Tensor, shortest: int, longest: Tensor) -> Tensor:
        """(S,) no hypothesis that is still running can enter the pool.

        `best` (S,) bounds the sum it can reach, `shortest` and `longest` (S,) its length, end symbol counted.  At a constant sum the score
        is monotone in length, so it is largest at one of the two.
        """
        bound = torch.maximum(self.normalise(best, shortest), self.normalise(best, longest))
        return bound <= self.scores[:, -1]

    def take(self, sentences: list[int], limits: list[int]) -> list[list[Hypothesis]]:
        """The hypotheses of some sentences; `limits` are those sentences' length limits."""
        chosen = torch.tensor(sentences, device=self.scores.device)
        table = zip(
            *(x[chosen].tolist() for x in (self.scores, self.lengths, self.pieces, self.piece_scores)),
            limits,
            strict=True,
        )
        return [
            [
                Hypothesis(tuple(ids[:n]), score, tuple(token_scores[: n + 1]), n >= limit)
                for score, n, ids, token_scores in zip(scores, lengths, pieces, piece_scores, strict=True)
                if score > -torch.inf
            ]
            for scores, lengths, pieces, piece_scores, limit in table
        ]

    def keep(self, sentences: Tensor) -> None:
        """Only these sentences (indices) stay."""
        self.scores, self.lengths, self.ended = (
            self.scores[sentences],
            self.lengths[sentences],
            self.ended[sentences],
        )
        self.pieces, self.piece_scores = self.pieces[sentences], self.piece_scores[sentences]


def _rows(block: Tensor, order: Tensor) -> Tensor:
    """block (S, M, C), order (S, K) -> (S, K, C)."""
    return block.gather(1, order[..., None].expand(-1, -1, block.shape[2]))
