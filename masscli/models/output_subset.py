"""The output layer of a model for some ids only, by which decoding with a shortlist saves most of its logits.

Shapes: S sentences of W rows each, N = S * W, D model width, E width of the output weights, U ids.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.models.transformer import Transformer


@dataclass(frozen=True, slots=True)
class Candidates:
    """The ids that the outputs of S sentences may consist of."""

    ids: Tensor
    """(U,) the ids that at least one of the sentences may use, ascending."""
    allowed: Tensor
    """(S, U) bool: which of them each sentence may use."""


class OutputSubset:
    """Computes log-probabilities of candidates only, normalized over the candidates of each sentence.

    The rows of the output weights that belong to the candidates are copied once.
    """

    def __init__(self, model: Transformer, candidates: Candidates) -> None:
        self.model = model
        weight, bias, is_predicted = model.output_rows(candidates.ids)
        self.weight = weight
        self.bias = bias
        # Where the model's own output layer was replaced, this one is of the same kind.
        self.layer: nn.Module | None = None
        if model.make_linear is not None:
            self.layer = model.make_linear(weight, bias)
        # Ids that the model does not predict have probability 0.
        self.allowed = candidates.allowed & is_predicted

    def __call__(self, hidden: Tensor) -> Tensor:
        """Return log-probabilities (N, U) in fp32 for states (N, D); -inf for ids that are not allowed."""
        vectors = self.model.output_input(hidden)
        if self.layer is not None:
            logits: Tensor = self.layer(vectors)
        else:
            bias = None if self.bias is None else self.bias.to(vectors.dtype)
            logits = F.linear(vectors, self.weight.to(vectors.dtype), bias)
        sentences, size = self.allowed.shape
        by_sentence = logits.view(sentences, -1, size)
        by_sentence = by_sentence.masked_fill(~self.allowed[:, None], -torch.inf)
        # Sums of log-probabilities need fp32, whatever the model computes in.
        return torch.log_softmax(by_sentence, -1, dtype=torch.float32).view_as(logits)

    def keep(self, sentences: Tensor) -> None:
        """Drop all sentences but those with these indices (1-D), and order these as the indices are."""
        self.allowed = self.allowed[sentences]
