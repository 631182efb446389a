"""Constraints on generation: rules that overwrite the log-probabilities of one step, for all rows at once.

Special ids (padding, start, mask, language tags, ...) are never generated; the unknown piece is, with a
penalty. Forbidden pieces get -inf, and the others keep the model's own log-probability, so that scores
stay those of the model. A rule that requires a piece overrides all others: the end symbol at the length
limit first, then a prefix. Phrases are not handled here, but by the beam search itself (see
masscli/generation/constrained_beam.py). This module does not depend on the search strategy.

Shapes: S sentences, W rows each, V vocabulary size, t pieces so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from masscli.data.batches.batch import Ids
from masscli.generation.config import GenerationConfig
from masscli.text.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Requirements:
    """What the outputs of S sentences must be like, as token ids; None requires nothing."""

    limits: Sequence[int]
    """The most pieces of each sentence's outputs, end symbol not counted."""
    prefixes: Sequence[Sequence[int]] | None = None
    """The pieces that each sentence's outputs begin with."""
    phrases: Sequence[Sequence[Sequence[int]]] | None = None
    """For each sentence, the phrases that its outputs contain. They are for beam search in one group, and
    sampling ignores them."""
    forced_tokens: Sequence[int] = ()
    """Tokens that the decoder reads after its first input, before the prefix. They cost nothing, count in the
    length that a score is divided by, but not in `limits`, and are not part of a hypothesis."""
    allowed: Tensor | None = None
    """(V,) bool: the only pieces that may be generated, besides the end symbol."""
    prompts: Sequence[Ids] | None = None
    """The ids of each sentence that a decoder alone continues, at least one. They count as generated for all
    rules about repetition, as in Hugging Face's library and in fairseq."""


class Constraints:
    """The rules that say which piece may come next in each of the W rows of S sentences.

    They follow from the options, from the vocabulary, whose special ids are never generated, and from the
    requirements, except for phrases. `starts` (S,) are the decoder's first inputs, which count as generated
    for the penalty of repetition where there is no prompt.
    """

    def __init__(
        self,
        config: GenerationConfig,
        vocabulary: Vocabulary,
        requirements: Requirements,
        starts: Tensor,
    ) -> None:
        self.config = config
        self.vocabulary = vocabulary
        self.starts = starts
        self.device = starts.device
        self.forced_tokens = requirements.forced_tokens
        # Limits and prefixes stay on the CPU, so that reading them does not wait for the accelerator.
        # The search counts forced tokens as steps, so they are added to the limits here.
        self.limits = torch.tensor(requirements.limits) + len(self.forced_tokens)
        self.shortest_limit = int(self.limits.min())
        forbidden = set(vocabulary.special_ids) - {vocabulary.eos, vocabulary.unk}
        if requirements.allowed is not None:
            forbidden.update((~requirements.allowed).nonzero()[:, 0].tolist())
            # Whatever is forbidden, a hypothesis must be able to end.
            forbidden.discard(vocabulary.eos)
        self.forbidden = torch.tensor(sorted(forbidden), device=self.device)
        # (S, longest prefix), with -1 after the end of a prefix.
        self.prefixes: Tensor | None = None
        prefixes = requirements.prefixes
        if prefixes is not None and any(len(prefix) for prefix in prefixes):
            longest = max(map(len, prefixes))
            self.prefixes = torch.full((len(prefixes), longest), -1)
            for row, prefix in zip(self.prefixes, prefixes, strict=True):
                row[: len(prefix)] = torch.as_tensor(prefix)
        # (S, longest prompt), with -1 before the beginning of a prompt.
        self.prompts: Tensor | None = None
        prompts = requirements.prompts
        if prompts is not None:
            longest = max(map(len, prompts))
            rows = torch.full((len(prompts), longest), -1)
            for row, prompt in zip(rows, prompts, strict=True):
                row[longest - len(prompt) :] = torch.as_tensor(prompt)
            self.prompts = rows.to(self.device)

    def keep(self, sentences: Tensor) -> None:
        """Drop what belongs to sentences, except for those with these indices (1-D, on the CPU)."""
        self.limits = self.limits[sentences]
        self.shortest_limit = int(self.limits.min())
        if self.prefixes is not None:
            self.prefixes = self.prefixes[sentences]
        on_device = sentences.to(self.device)
        self.starts = self.starts[on_device]
        if self.prompts is not None:
            self.prompts = self.prompts[on_device]

    def apply(self, scores: Tensor, history: Tensor) -> None:
        """Apply forced pieces, penalties and bans in place to the scores (S, W, V) of the next piece.

        Scores are log-probabilities; `history` (S, W, t) holds the pieces that were generated so far, forced
        tokens included.
        """
        step = history.shape[2]
        if step < len(self.forced_tokens):
            scores.fill_(-torch.inf)
            scores[..., self.forced_tokens[step]] = 0.0
            return
        required = self._required_pieces(step)
        if required is None:
            self._apply_rules(scores, history)
            return
        bound = (required >= 0).nonzero()[:, 0]
        pieces = required[bound].to(self.device)
        sentences = bound.to(self.device)
        # (F, W): the model's own scores of the F required pieces, before any rule overwrites them.
        own_scores = scores[sentences, :, pieces]
        self._apply_rules(scores, history)
        # A required piece is the only one left, with the model's own score.
        scores[sentences] = -torch.inf
        scores[sentences, :, pieces] = own_scores

    def _apply_rules(self, scores: Tensor, history: Tensor) -> None:
        """Apply penalties and bans, which are the same for all sentences, in place to scores (S, W, V).

        `history` (S, W, t) holds the pieces that were generated so far, forced tokens included.
        """
        step = history.shape[2]
        if self.prompts is not None:
            prompts = self.prompts[:, None].expand(-1, history.shape[1], -1)
            history = torch.cat([prompts, history], 2)

        # The penalty of repetition also counts in the score, as in Hugging Face's beam search.
        if self.config.repetition_penalty != 1:
            # A decoder that begins with the end symbol has it from the first step on.
            first = self.starts[:, None, None].expand(-1, history.shape[1], 1)
            read = torch.cat([first, history], 2)
            if self.prompts is not None:
                # Any id that was read may stand before the beginning of a prompt.
                read = torch.where(history < 0, history[..., -1:], history)
            repeated = scores.gather(2, read) * self.config.repetition_penalty
            scores.scatter_(2, read, repeated)
        scores.index_fill_(2, self.forbidden, -torch.inf)
        # The penalty is part of the score, as in fairseq.
        if self.config.unkpen:
            scores[..., self.vocabulary.unk] -= self.config.unkpen
        # Before that, there is no n-gram that could be repeated.
        if 0 < self.config.no_repeat_ngram_size <= history.shape[2]:
            forbid_repeats(scores, history, self.config.no_repeat_ngram_size)
        if step < len(self.forced_tokens) + self.config.min_len:
            scores[..., self.vocabulary.eos].fill_(-torch.inf)

    def _required_pieces(self, step: int) -> Tensor | None:
        """Return the piece (S,) that each sentence must take at position `step`, or -1 where it is free.

        That is the end symbol at the length limit, or else a piece of the prefix; the result is None where
        all sentences are free. `step` counts from 0, forced tokens included, and must come after these.
        """
        prefix_step = step - len(self.forced_tokens)
        in_prefix = self.prefixes is not None and prefix_step < self.prefixes.shape[1]
        # This is the case in most steps.
        if not in_prefix and step < self.shortest_limit:
            return None
        required = torch.full_like(self.limits, -1)
        if self.prefixes is not None and in_prefix:
            required = self.prefixes[:, prefix_step]
        # The end symbol at the length limit overrides a prefix.
        return torch.where(self.limits <= step, self.vocabulary.eos, required)


def forbid_repeats(scores: Tensor, history: Tensor, n: int) -> None:
    """Set to -inf, in place, the scores (S, W, V) of pieces that would repeat an n-gram of `history`.

    `history` (S, W, t) holds the pieces so far, after -1 where a row has fewer of them, and `n` is the length
    of the n-grams, at most t.
    """
    # (S, W, t-n+1, n): every n-gram so far.
    ngrams = history.unfold(2, n, 1)
    # (S, W, n-1): the beginning of the n-gram that the next piece completes.
    tail = history[..., history.shape[2] - n + 1 :]
    sentence, row, ngram = (
        (ngrams[..., :-1] == tail[:, :, None]).all(-1).nonzero(as_tuple=True)
    )
    repeated = ngrams[sentence, row, ngram, -1]
    # As an index, -1 would be the last piece of the vocabulary.
    is_piece = repeated >= 0
    scores[sentence[is_piece], row[is_piece], repeated[is_piece]] = -torch.inf
