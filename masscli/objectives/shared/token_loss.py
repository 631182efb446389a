"""The cross-entropy of token labels, which almost every objective uses."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from masscli.data.batches.batch import Labels
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Term


def token_loss(
    model: Transformer,
    hidden: Tensor,
    labels: Labels,
    stack: Literal["encoder", "decoder"],
    label_smoothing: float = 0.0,
) -> Term:
    """Return the cross-entropy of token labels, summed over them.

    `hidden` (B, L, D) are the hidden states of `stack`, each of which predicts the label at its position. The
    output layer reads only the states that have a label.
    """
    states = hidden.flatten(0, 1)[labels.positions]
    return Term(*model.loss(states, labels.ids, label_smoothing, stack))
