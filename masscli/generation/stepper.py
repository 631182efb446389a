"""One step of decoding, and where it comes from: a cached model, several models, or (in tests) a table.

S sentences, W rows (beams) each, N = S * W rows in sentence-major order: row = sentence * W + beam.  V is the vocabulary size.  A stepper
knows nothing of beams, scores or constraints; the search knows nothing of models.
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
from masscli.models.transformer import Transformer


class Stepper(Protocol):
    """One step of decoding for S sentences x W rows each."""

    @property
    def vocab_size(self) -> int:
        """V."""
        ...

    def __call__(self, ids: Tensor) -> Tensor:
        """Log-probabilities (N, V) in float32 of what follows the last ids (N,); advances the state.  The caller may overwrite them."""
        ...

    def reorder(self, parents: Tensor) -> None:
        """Row n continues row `parents[n]` (N,), an absolute row index within the same sentence."""
        ...

    def keep(self, sentences: Tensor) -> None:
        """Only these sentences (indices) stay in the batch."""
        ...


class CachedStepper:
    """What steppers of a Transformer have in common: its cache, and `language` (S,), the target language where the model needs it."""

    def __init__(self, model: Transformer, cache: Cache, width: int, language: Tensor | None) -> None:
        self.model, self.cache, self.width, self.language = model, cache, width, language
        self.vocab_size = model.vocab_size

    def tokens(self, ids: Tensor) -> Tokens:
        """One token for each row."""
        language = self.language.repeat_interleave(self.width) if self.language is not None else None
        return Tokens(ids[:, None], torch.ones_like(ids), language=language)

    def scores(self, hidden: Tensor) -> Tensor:
        """Log-probabilities (N, V) from the states (N, D) of a step."""
        scores = torch.log_softmax(self.model.logits(hidden), -1, dtype=torch.float32)
        if bool(scores[:, 0].isnan().any()):  # one NaN or inf makes a whole row of them
            raise MasscliError(
                "the model's output is not a number",
                "its training diverged or its weights are damaged; use an earlier one",
            )
        return scores

    def reorder(self, parents: Tensor) -> None:
        """See `Stepper`."""
        self.cache.reorder(parents)

    def keep(self, sentences: Tensor) -> None:
        """See `Stepper`."""
        self.cache.keep(sentences)
        if self.language is not None:
            self.language = self.language[sentences]


class ModelStepper(CachedStepper):
    """A Transformer with a decoder.  Encodes the sources, once."""

    def __init__(
        self, model: Transformer, source: Tokens, width: int, language: Tensor | None = None
    ) -> None:
        super().__init__(model, model.prefill(source, width), width, language)

    def __call__(self, ids: Tensor) -> Tensor:
        return self.scores(self.model.decode(self.tokens(ids), None, self.cache)[:, 0])


class EnsembleStepper:
    """Several steppers as one: the logarithm of the mean of their probabilities."""

    def __init__(self, members: Sequence[Stepper]) -> None:
        self.members = members
        self.vocab_size = members[0].vocab_size

    def __call__(self, ids: Tensor) -> Tensor:
        total = self.members[0](ids)
        for member in self.members[1:]:
            total = torch.logaddexp(total, member(ids))
        return total.sub_(math.log(len(self.members)))

    def reorder(self, parents: Tensor) -> None:
        """See `Stepper`."""
        for member in self.members:
            member.reorder(parents)

    def keep(self, sentences: Tensor) -> None:
        """See `Stepper`."""
        for member in self.members:
            member.keep(sentences)
