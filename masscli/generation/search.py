"""The search loop: from a stepper to the n best hypotheses of each sentence, by beam search or by sampling.

Score: the sum of log-probabilities, end symbol included, over (length, end symbol included) ** lenpen.  A sentence is done when
 (a) no hypothesis that still runs can enter its n best, whatever follows: later log-probabilities are at most 0 (or the bonus of a negative
     unkpen), so the best sum now, at the most favourable length up to the limit, bounds every score to come.  Going on could not change the
     result, so this is the whole search within the width of the beam; or
 (b) with `early_stop`, as soon as `beam` hypotheses have finished, which is what fairseq does.
At the length limit the end symbol is forced.  Sentences that are done leave the batch once they are a quarter of it.

No result depends on what else is in the batch: ties are broken by row and piece, random numbers belong to the sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from masscli.generation.beam import Beam, StepSelection
from masscli.generation.config import GenerationConfig
from masscli.generation.constraints import Constraints
from masscli.generation.hypotheses import Hypothesis, HypothesisPool
from masscli.generation.sampling import SamplingStrategy
from masscli.generation.stepper import Stepper
from masscli.text.vocabulary import Vocabulary


class SearchStrategy(Protocol):
    """What tells beam search from sampling."""

    def start(self, sentences: int, device: torch.device) -> Tensor:
        """Sums (S, W) before the first step; -inf is a row that does not exist (yet)."""
        ...

    def select(self, sums: Tensor, scores: Tensor) -> StepSelection:
        """One step's decision."""
        ...

    def keep(self, sentences: Tensor) -> None:
        """Only these sentences stay."""
        ...


@torch.inference_mode()
def search(
    stepper: Stepper,
    starts: Tensor,
    limits: Sequence[int],
    config: GenerationConfig,
    vocabulary: Vocabulary,
    *,
    prefixes: Sequence[Sequence[int]] | None = None,
    seed: int = 1,
    keys: Sequence[int] | None = None,
    allowed: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """The `config.nbest` best hypotheses of each of S sentences, best first.

    `starts` (S,) are the decoder's first inputs, `limits` the most pieces of each output, end symbol not counted; `prefixes` the pieces
    each output must begin with; `seed` and `keys` (default: 0, 1, ...) decide what is sampled; `allowed` (V,) bool, if given, are
    the only pieces that may be written.  The list of a sentence is shorter, or
    empty, only where rules or a small vocabulary left nothing else to find.
    """
    device = starts.device
    if not limits:
        return []
    steps = max(limits) + 1
    rules = Constraints(config, vocabulary, torch.tensor(limits), prefixes, device, allowed)
    strategy: SearchStrategy = Beam(config, vocabulary.eos)
    if config.sampling:
        strategy = SamplingStrategy(
            config, vocabulary.eos, seed, keys if keys is not None else range(len(limits)), steps, device
        )
    return _Search(stepper, starts, config, rules, strategy, steps).run()


class _Search:
    """The state of the loop: S sentences still in the batch, W rows each, C steps of room."""

    def __init__(
        self,
        stepper: Stepper,
        starts: Tensor,
        config: GenerationConfig,
        rules: Constraints,
        strategy: SearchStrategy,
        steps: int,
    ) -> None:
        s, device = len(starts), starts.device
        self.stepper, self.config, self.rules, self.strategy = stepper, config, rules, strategy
        self.index = list(range(s))  # which sentence of the input each one is
        self.done = [False] * s
        self.results: list[list[Hypothesis]] = [[] for _ in range(s)]
        self.last = starts.repeat_interleave(config.beam)
        self.sums = strategy.start(s, device)
        self.pieces = torch.zeros((s, config.beam, steps), dtype=torch.int64, device=device)
        self.piece_scores = torch.zeros((s, config.beam, steps), device=device)
        self.pool = HypothesisPool(s, config.nbest, steps, config.lenpen, device)

    def run(self) -> list[list[Hypothesis]]:
        """All steps, to the end."""
        step = 0
        while True:
            choice = self._extend(step)
            self._collect(step)
            if all(self.done):
                return self.results
            parents = self._compact(choice.parents)
            if self.config.beam > 1 and not self.config.sampling:
                rows = torch.arange(len(parents), device=parents.device)[:, None] * self.config.beam + parents
                self.stepper.reorder(rows.flatten())
            step += 1

    def _extend(self, step: int) -> StepSelection:
        """Ask the stepper, put ended hypotheses into the pool, extend the others by a piece."""
        s, w = self.sums.shape
        scores = self.stepper(self.last).view(s, w, self.stepper.vocab_size)
        pieces, piece_scores = self.pieces[..., :step], self.piece_scores[..., :step]
        self.rules.apply(scores, pieces)
        choice = self.strategy.select(self.sums, scores)
        sentence = torch.arange(s, device=scores.device)[:, None]
        if bool((choice.ended > -torch.inf).any()):
            own = scores[sentence, choice.ended_parents, self.rules.vocabulary.eos]
            past = piece_scores[sentence, choice.ended_parents]
            self.pool.add(
                choice.ended, pieces[sentence, choice.ended_parents], torch.cat([past, own[..., None]], 2)
            )
        self.pieces[..., :step] = pieces[sentence, choice.parents]
        self.piece_scores[..., :step] = piece_scores[sentence, choice.parents]
        self.pieces[..., step] = choice.pieces
        self.piece_scores[..., step] = scores[sentence, choice.parents, choice.pieces]
        self.sums, self.last = choice.sums, choice.pieces.flatten()
        return choice

    def _collect(self, step: int) -> None:
        """Take the hypotheses of the sentences that are done."""
        limits = self.rules.limits.to(self.sums.device)
        bonus = max(0.0, -self.config.unkpen) * (limits - step - 1)
        over = self.pool.unbeatable(self.sums.amax(1) + bonus, step + 2, (limits + 1).double())
        if self.config.early_stop:
            over |= self.pool.ended >= self.config.beam
        fresh = [
            i
            for i, (now, before) in enumerate(zip(over.tolist(), self.done, strict=True))
            if now and not before
        ]
        if fresh:
            found = self.pool.take(fresh, self.rules.limits[fresh].tolist())
            for i, hypotheses in zip(fresh, found, strict=True):
                self.done[i] = True
                self.results[self.index[i]] = hypotheses

    def _compact(self, parents: Tensor) -> Tensor:
        """Drop the sentences that are done, if they are many enough to pay for the copies; their part of `parents` too."""
        if sum(self.done) * 4 < len(self.done):
            return parents
        stay = [i for i, done in enumerate(self.done) if not done]
        rows = torch.tensor(stay)
        self.rules.keep(rows)
        rows = rows.to(parents.device)
        self.index, self.done = [self.index[i] for i in stay], [False] * len(stay)
        self.last = self.last.view(-1, self.config.beam)[rows].flatten()
        self.sums, self.pieces, self.piece_scores = (
            self.sums[rows],
            self.pieces[rows],
            self.piece_scores[rows],
        )
        self.stepper.keep(rows)
        self.strategy.keep(rows)
        self.pool.keep(rows)
        return parents[rows]
