"""Steppers: one step of decoding with a model, with several models, or (in tests) with a table.

A stepper knows nothing of beams, scores or constraints; the search knows nothing of models.

Shapes: S sentences, W rows (beams) each, N = S * W rows in sentence-major order (row = sentence * W + beam),
V vocabulary size, D model width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Tokens
from masscli.models.cache import Cache
from masscli.models.output_subset import Candidates, OutputSubset
from masscli.models.transformer import Transformer


class Stepper(Protocol):
    """One step of decoding for S sentences of W rows each."""

    @property
    def vocab_size(self) -> int:
        """Return V, the size of the vocabulary."""
        ...

    def __call__(self, ids: Tensor) -> Tensor:
        """Read the last ids (N,) of all rows, and return the log-probabilities (N, V) of their next tokens.

        They are float32, and the caller may overwrite them.
        """
        ...

    def reorder(self, parents: Tensor) -> None:
        """Give each row n the history of row `parents[n]`, which must be a row of the same sentence.

        `parents` (N,) are row numbers in the whole batch.
        """
        ...

    def keep(self, sentences: Tensor) -> None:
        """Drop all sentences from the batch but those with these indices (1-D)."""
        ...


class CachedStepper:
    """The common part of all steppers over a Transformer: a cache, and the scores of a step.

    `width` is the number of rows of each sentence. `language` (S,) is the index of the target language of
    each sentence; None for models without language embeddings. With `candidates`, only these U ids are
    scored: V is U, and column u of the scores is that of the candidate at place u.
    """

    def __init__(
        self,
        model: Transformer,
        cache: Cache,
        width: int,
        language: Tensor | None,
        candidates: Candidates | None = None,
    ) -> None:
        self.model = model
        self.cache = cache
        self.width = width
        self.language = language
        self.vocab_size = model.vocab_size
        self.subset: OutputSubset | None = None
        if candidates is not None:
            self.vocab_size = len(candidates.ids)
            self.subset = OutputSubset(model, candidates)

    def tokens(self, ids: Tensor) -> Tokens:
        """Return ids (N,) as a block (N, 1) of one token for each row, with its language if there is one."""
        language = None
        # The rows of a sentence follow each other.
        if self.language is not None:
            language = self.language.repeat_interleave(self.width)
        return Tokens(ids[:, None], torch.ones_like(ids), language=language)

    def scores(self, hidden: Tensor) -> Tensor:
        """Return log-probabilities (N, V) in fp32 for states (N, D); raise MasscliError if some are NaN."""
        if self.subset is not None:
            scores = self.subset(hidden)
        else:
            # Sums of log-probabilities need fp32, whatever the model computes in.
            scores = torch.log_softmax(
                self.model.logits(hidden), -1, dtype=torch.float32
            )
        # A single NaN or inf in a row makes all of its log-probabilities NaN, so one column tells.
        if bool(scores[:, 0].isnan().any()):
            raise MasscliError(
                "the model's output is not a number",
                "its training diverged or its weights are damaged; use an earlier one",
            )
        return scores

    def reorder(self, parents: Tensor) -> None:
        """Give each row n the history of row `parents[n]` (N,), a row of the same sentence, in the cache."""
        self.cache.reorder(parents)

    def keep(self, sentences: Tensor) -> None:
        """Drop all sentences from the cache but those with these indices (1-D)."""
        self.cache.keep(sentences)
        if self.subset is not None:
            self.subset.keep(sentences)
        if self.language is not None:
            self.language = self.language[sentences]


class ModelStepper(CachedStepper):
    """A stepper over a model with an encoder and a decoder; it encodes `source` once for all rows.

    `source` has S sentences with special tokens, and each of them has `width` rows. `language` (S,) is the
    index of the target language of each, or None for models without language embeddings. With `candidates`,
    only these U ids are scored: V is U, and column u of the scores is that of the candidate at place u.
    """

    def __init__(
        self,
        model: Transformer,
        source: Tokens,
        width: int,
        language: Tensor | None = None,
        candidates: Candidates | None = None,
    ) -> None:
        super().__init__(
            model, model.prefill(source, 1, width), width, language, candidates
        )

    def __call__(self, ids: Tensor) -> Tensor:
        """Read the last ids (N,) of all rows; return the log-probabilities (N, V) of their next tokens.

        In the first call the rows of a sentence must all have the same id, and so one row is computed.
        """
        if self.cache.width == self.width:
            hidden = self.model.decode(self.tokens(ids), None, self.cache)
            return self.scores(hidden[:, 0])
        first = ids[:: self.width, None]
        tokens = Tokens(first, torch.ones_like(first[:, 0]), language=self.language)
        hidden = self.model.decode(tokens, None, self.cache)
        self.cache.widen(self.width)
        return self.scores(hidden[:, 0]).repeat_interleave(self.width, 0)


class EnsembleStepper:
    """An ensemble of steppers that is a stepper itself, and averages the probabilities of its members."""

    def __init__(self, members: Sequence[Stepper]) -> None:
        self.members = members
        self.vocab_size = members[0].vocab_size

    def __call__(self, ids: Tensor) -> Tensor:
        """Read the last ids (N,) of all rows, and return the log-probabilities (N, V) of their next tokens.

        They are the logarithms of the mean probabilities of all members.
        """
        total = self.members[0](ids)
        for member in self.members[1:]:
            # In the domain of logarithms small probabilities do not underflow.
            total = torch.logaddexp(total, member(ids))
        return total.sub_(math.log(len(self.members)))

    def reorder(self, parents: Tensor) -> None:
        """Give each row n the history of row `parents[n]` (N,), of the same sentence, in all members."""
        for member in self.members:
            member.reorder(parents)

    def keep(self, sentences: Tensor) -> None:
        """Drop all sentences from all members but those with these indices (1-D)."""
        for member in self.members:
            member.keep(sentences)
