"""Constraints on generation: rules that overwrite the log-probabilities of one step, for all rows at once.

Special ids (padding, start, mask, language tags, ...) are never generated; the unknown piece is, with a
penalty. Forbidden pieces get -inf, and the others keep the model's own log-probability, so that scores
stay those of the model. A rule that forces a piece overrides all others: the end symbol at the length
limit first, then a prefix. This module does not depend on the search strategy.

Shapes: S sentences, W rows each, V vocabulary size, t pieces so far.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from masscli.generation.config import GenerationConfig
from masscli.text.vocabulary import Vocabulary


class Constraints:
    """The rules that say which piece may come next in each of the W rows of S sentences.

    `limits` (S,) is the maximum number of pieces of each output, without the end symbol. `prefixes` are
    the pieces that each output must begin with. `allowed` (V,) bool are the pieces that may be
    generated (default: all); of special ids, only the end symbol, which always may, and the unknown
    piece. `forced` are tokens that every output begins with, before its prefix, with log-probability 0;
    `limits` and `prefixes` do not count them. `starts` (S,) are the decoder's first inputs, which count
    as generated for the penalty of repetition; with None nothing does.
    """

    def __init__(
        self,
        config: GenerationConfig,
        vocabulary: Vocabulary,
        limits: Tensor,
        prefixes: Sequence[Sequence[int]] | None,
        device: torch.device,
        allowed: Tensor | None = None,
        forced: Sequence[int] = (),
        starts: Tensor | None = None,
    ) -> None:
        self.forced = forced
        self.starts = starts
        self.config = config
        self.vocabulary = vocabulary
        self.device = device
        # Limits and prefixes stay on the CPU, so that reading them does not wait for the accelerator.
        # The search counts forced tokens as steps, so they are added to the limits here.
        self.limits = limits.cpu() + len(forced)
        self.shortest_limit = int(self.limits.min())
        forbidden = set(vocabulary.special_ids) - {vocabulary.eos, vocabulary.unk}
        if allowed is not None:
            forbidden.update((~allowed).nonzero()[:, 0].tolist())
            # Whatever is forbidden, a hypothesis must be able to end.
            forbidden.discard(vocabulary.eos)
        self.forbidden = torch.tensor(sorted(forbidden), device=device)
        # (S, longest prefix), with -1 after the end of a prefix.
        self.prefixes: Tensor | None = None
        if prefixes is not None and any(len(prefix) for prefix in prefixes):
            longest = max(map(len, prefixes))
            self.prefixes = torch.full((len(prefixes), longest), -1)
            for row, prefix in zip(self.prefixes, prefixes, strict=True):
                row[: len(prefix)] = torch.as_tensor(prefix)

    def keep(self, sentences: Tensor) -> None:
        """Drop the limits and prefixes of all sentences but those with these indices (1-D, on the CPU)."""
        self.limits = self.limits[sentences]
        self.shortest_limit = int(self.limits.min())
        if self.prefixes is not None:
            self.prefixes = self.prefixes[sentences]
        if self.starts is not None:
            self.starts = self.starts[sentences.to(self.starts.device)]

    def apply(self, scores: Tensor, history: Tensor) -> None:
        """Apply forced pieces, penalties and bans in place to the scores (S, W, V) of the next piece.

        Scores are log-probabilities; `history` (S, W, t) holds the pieces that were generated so far, forced
        tokens included.
        """
        step = history.shape[2]
        if step < len(self.forced):
            scores.fill_(-torch.inf)
            scores[..., self.forced[step]] = 0.0
            return
        forced_pieces = self._forced_pieces(step)
        if forced_pieces is None:
            self._apply_rules(scores, history)
            return
        forced_sentences = (forced_pieces >= 0).nonzero()[:, 0]
        pieces = forced_pieces[forced_sentences].to(self.device)
        sentences = forced_sentences.to(self.device)
        # (F, W): the model's own scores of the F forced pieces, before any rule overwrites them.
        forced_scores = scores[sentences, :, pieces]
        self._apply_rules(scores, history)
        # A forced piece is the only one left, with the model's own score.
        scores[sentences] = -torch.inf
        scores[sentences, :, pieces] = forced_scores

    def _apply_rules(self, scores: Tensor, history: Tensor) -> None:
        """Apply penalties and bans, which are the same for all sentences, in place to scores (S, W, V).

        `history` (S, W, t) holds the pieces that were generated so far, forced tokens included.
        """
        step = history.shape[2]

        # The penalty of repetition also counts in the score, as in Hugging Face's beam search.
        if self.config.repetition_penalty != 1:
            read = history
            # A decoder that begins with the end symbol has it from the first step on.
            if self.starts is not None:
                first = self.starts[:, None, None].expand(-1, history.shape[1], 1)
                read = torch.cat([first, history], 2)
            repeated = scores.gather(2, read) * self.config.repetition_penalty
            scores.scatter_(2, read, repeated)
        scores.index_fill_(2, self.forbidden, -torch.inf)
        # The penalty is part of the score, as in fairseq.
        if self.config.unkpen:
            scores[..., self.vocabulary.unk] -= self.config.unkpen
        # Before that, there is no n-gram that could be repeated.
        if 0 < self.config.no_repeat_ngram_size <= step:
            forbid_repeats(scores, history, self.config.no_repeat_ngram_size)
        if step < len(self.forced) + self.config.min_len:
            scores[..., self.vocabulary.eos].fill_(-torch.inf)

    def _forced_pieces(self, step: int) -> Tensor | None:
        """Return the piece (S,) that each sentence must take at position `step`, or -1 where it is free.

        That is the end symbol at the length limit, or else a piece of the prefix; the result is None where
        all sentences are free. `step` counts from 0, the tokens of `forced` included, and must come after
        these.
        """
        prefix_step = step - len(self.forced)
        in_prefix = self.prefixes is not None and prefix_step < self.prefixes.shape[1]
        # This is the case in most steps.
        if not in_prefix and step < self.shortest_limit:
            return None
        forced = torch.full_like(self.limits, -1)
        if self.prefixes is not None and in_prefix:
            forced = self.prefixes[:, prefix_step]
        # The end symbol at the length limit overrides a prefix.
        return torch.where(self.limits <= step, self.vocabulary.eos, forced)


def forbid_repeats(scores: Tensor, history: Tensor, n: int) -> None:
    """Set to -inf, in place, the scores (S, W, V) of pieces that would repeat an n-gram of `history`.

    `history` (S, W, t) holds the pieces so far, and `n` is the length of the n-grams, at most t.
    """
    # (S, W, t-n+1, n): every n-gram so far.
    ngrams = history.unfold(2, n, 1)
    # (S, W, n-1): the beginning of the n-gram that the next piece completes.
    tail = history[..., history.shape[2] - n + 1 :]
    sentence, row, ngram = (
        (ngrams[..., :-1] == tail[:, :, None]).all(-1).nonzero(as_tuple=True)
    )
    repeated = ngrams[sentence, row, ngram, -1]
    scores[sentence, row, repeated] = -torch.inf
