"""The search loop: from a stepper to the n best hypotheses of each sentence, by beam search or by sampling.

A score is the sum of log-probabilities, end symbol included, over (length, end symbol included) ** lenpen. A
sentence is done

(a) when no running hypothesis can enter its n best any more. Later log-probabilities are at most 0 (or
the bonus of a negative unkpen), so the best sum now, at the most favorable length up to the limit,
bounds every score to come. Continuing could not change the result, so the search is complete within the
width of the beam; or (b) with `early_stop`, as soon as `beam` hypotheses have finished, which is what
fairseq does, and with a beam of 1, since greedy search ends where the end symbol is best; or (c) without
`lookahead`, when the `beam` best finished ones are as good as the best sum now at the length now, which is
what Hugging Face's library does by default. This may miss outputs that would still become best.

At the length limit the end symbol is forced. Sentences that are done leave the batch once they are a quarter
of it. No result depends on what else is in the batch: ties are broken by row and piece, and random numbers
belong to the sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from masscli.generation.beam import Beam, StepSelection
from masscli.generation.config import GenerationConfig
from masscli.generation.constrained_beam import ConstrainedBeam
from masscli.generation.constraints import Constraints, Requirements
from masscli.generation.hypotheses import Hypothesis, HypothesisPool
from masscli.generation.sampling import SamplingStrategy
from masscli.generation.stepper import Stepper
from masscli.text.vocabulary import Vocabulary


class SearchStrategy(Protocol):
    """The interface of a search strategy: beam search or sampling."""

    def start(self, sentences: int, device: torch.device) -> Tensor:
        """Return the sums of log-probabilities (S, W) of S sentences before the first step.

        They are 0 for rows that the search begins with, and -inf for the others of the W rows of a sentence.
        """
        ...

    def select(self, sums: Tensor, scores: Tensor) -> StepSelection:
        """Select the rows of the next step, and the hypotheses that end in this one.

        `sums` (S, W) are the sums of log-probabilities of the rows so far, and `scores` (S, W, V) the
        log-probabilities of their next pieces.
        """
        ...

    def keep(self, sentences: Tensor) -> None:
        """Drop the state of all sentences but those with these indices (1-D)."""
        ...


@torch.inference_mode()
def search(
    stepper: Stepper,
    starts: Tensor,
    requirements: Requirements,
    config: GenerationConfig,
    vocabulary: Vocabulary,
    sample_seeds: Sequence[Sequence[int]] = (),
    candidates: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """Return the `config.outputs` best hypotheses of each of S sentences, best first.

    `starts` (S,) are the decoder's first inputs. `sample_seeds` has, for each sentence, the whole numbers
    that decide what is sampled; beam search needs none. `candidates` (V,), ascending, are the ids of the V
    pieces that the stepper scores, if these are not their numbers. The list of a sentence is shorter, or
    empty, only where the rules or a small vocabulary left nothing else to find.
    """
    if not requirements.limits:
        return []
    # The end symbol needs a step, too.
    steps = len(requirements.forced_tokens) + max(requirements.limits) + 1
    constraints = Constraints(config, vocabulary, requirements, starts)
    strategy: SearchStrategy
    if config.sampling:
        if candidates is None:
            candidates = torch.arange(vocabulary.size, device=starts.device)
        strategy = SamplingStrategy(
            config, vocabulary.eos, sample_seeds, steps, candidates
        )
    elif requirements.phrases is not None and any(requirements.phrases):
        strategy = ConstrainedBeam(config, vocabulary.eos, requirements.phrases)
    else:
        strategy = Beam(config, vocabulary.eos)
    return _Search(stepper, starts, config, constraints, strategy, steps).run()


class _Search:
    """The loop of a search, and its state: S sentences still in the batch, with W rows (beams) each.

    `starts` (S,) are the decoder's first inputs, and `steps` is the most pieces of an output, with forced
    tokens and the end symbol.
    """

    def __init__(
        self,
        stepper: Stepper,
        starts: Tensor,
        config: GenerationConfig,
        constraints: Constraints,
        strategy: SearchStrategy,
        steps: int,
    ) -> None:
        sentences = len(starts)
        device = starts.device
        self.stepper = stepper
        self.config = config
        self.constraints = constraints
        self.strategy = strategy
        # Which sentence of the input each sentence of the batch is, and which of them are done.
        self.index = list(range(sentences))
        self.done = [False] * sentences
        self.results: list[list[Hypothesis]] = [[] for _ in range(sentences)]
        # (S*W,) the last piece of each row.
        self.last = starts.repeat_interleave(config.beam)
        self.sums = strategy.start(sentences, device)
        self.pieces = torch.zeros(
            (sentences, config.beam, steps), dtype=torch.int64, device=device
        )
        self.piece_scores = torch.zeros((sentences, config.beam, steps), device=device)
        # Without lookahead, the search compares with the worst of `beam` hypotheses.
        size = config.outputs if config.lookahead else config.beam
        self.pool = HypothesisPool(sentences, size, steps, config.lenpen, device)

    def run(self) -> list[list[Hypothesis]]:
        """Take steps until every sentence is done; return the hypotheses of each sentence, best first."""
        step = 0
        while True:
            selection = self._extend(step)
            self._collect_done(step)
            if all(self.done):
                return self.results
            parents = self._drop_done(selection.parents)
            # Sampled rows, and a single row, always continue themselves.
            if self.config.beam > 1 and not self.config.sampling:
                first_rows = (
                    torch.arange(len(parents), device=parents.device)[:, None]
                    * self.config.beam
                )
                self.stepper.reorder((first_rows + parents).flatten())
            step += 1

    def _extend(self, step: int) -> StepSelection:
        """Take one step: add finished hypotheses to the pool, and extend the other rows by one piece.

        `step` is the number of pieces so far, forced tokens included. Return what the search strategy has
        selected.
        """
        s, w = self.sums.shape
        # Constraints overwrite the scores in place, which the stepper allows.
        scores = self.stepper(self.last).view(s, w, self.stepper.vocab_size)
        pieces = self.pieces[..., :step]
        piece_scores = self.piece_scores[..., :step]
        self.constraints.apply(scores, pieces)
        selection = self.strategy.select(self.sums, scores)
        sentence = torch.arange(s, device=scores.device)[:, None]
        # The pool is sorted again after each addition, so steps without any are skipped.
        if bool((selection.ended > -torch.inf).any()):
            ended = selection.ended_parents
            eos_scores = scores[sentence, ended, self.constraints.vocabulary.eos]
            ended_scores = torch.cat(
                [piece_scores[sentence, ended], eos_scores[..., None]], 2
            )
            self.pool.add(selection.ended, pieces[sentence, ended], ended_scores)
        # Histories move with their rows, and the new pieces are appended.
        self.pieces[..., :step] = pieces[sentence, selection.parents]
        self.piece_scores[..., :step] = piece_scores[sentence, selection.parents]
        self.pieces[..., step] = selection.pieces
        self.piece_scores[..., step] = scores[
            sentence, selection.parents, selection.pieces
        ]
        self.sums = selection.sums
        # With two vocabularies, an unused row may have a piece that the decoder does not know.
        is_dead = selection.sums == -torch.inf
        self.last = selection.pieces.masked_fill(
            is_dead, self.constraints.vocabulary.eos
        ).flatten()
        return selection

    def _collect_done(self, step: int) -> None:
        """Mark the sentences that are done after step number `step` (from 0), and store their results."""
        limits = self.constraints.limits.to(self.sums.device)
        best_sums = self.sums.amax(1)
        # The next step gives hypotheses of step + 1 pieces and the end symbol at the earliest.
        shortest, longest = step + 2, (limits + 1).double()
        if not self.config.lookahead:
            # The present scores of the rows are compared, not those that they may reach.
            shortest, longest = step + 1, torch.full_like(longest, step + 1)
        elif self.config.unkpen < 0:
            # A negative unkpen is a bonus for every unknown piece that may still come.
            best_sums = best_sums - self.config.unkpen * (limits - step - 1)
        over = self.pool.unbeatable(best_sums, shortest, longest)
        if self.config.early_stop or self.config.beam == 1:
            over |= self.pool.ended >= self.config.beam
        newly_done = []
        for i, is_over in enumerate(over.tolist()):
            # A sentence that is done may stay in the batch for some steps, but its results do not change.
            if is_over and not self.done[i]:
                newly_done.append(i)
        if not newly_done:
            return
        results = self.pool.hypotheses(
            newly_done, self.constraints.limits[newly_done].tolist()
        )
        first = len(self.constraints.forced_tokens)
        for i, hypotheses in zip(newly_done, results, strict=True):
            self.done[i] = True
            self.results[self.index[i]] = [
                hypothesis.without_first(first)
                for hypothesis in hypotheses[: self.config.outputs]
            ]

    def _drop_done(self, parents: Tensor) -> Tensor:
        """Drop the sentences that are done from the batch, if they are at least a quarter of it.

        Return `parents` (S, W) without the sentences that were dropped.
        """
        if sum(self.done) * 4 < len(self.done):
            return parents
        # Constraints are on the CPU, all other state is on the device.
        running = [i for i, done in enumerate(self.done) if not done]
        kept = torch.tensor(running)
        self.constraints.keep(kept)
        kept = kept.to(parents.device)
        self.index = [self.index[i] for i in running]
        self.done = [False] * len(running)
        self.last = self.last.view(-1, self.config.beam)[kept].flatten()
        self.sums = self.sums[kept]
        self.pieces = self.pieces[kept]
        self.piece_scores = self.piece_scores[kept]
        self.stepper.keep(kept)
        self.strategy.keep(kept)
        self.pool.keep(kept)
        return parents[kept]
