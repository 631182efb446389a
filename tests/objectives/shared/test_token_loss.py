"""The loss of labels at their positions is PyTorch's cross-entropy of the logits there."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch.nn import functional as F

from masscli.data.batches.batch import Labels
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.objectives.shared.token_loss import token_loss


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_the_loss_is_plain_cross_entropy_without_label_smoothing(
    stack: Literal["encoder", "decoder"],
) -> None:
    torch.manual_seed(1)
    model = Transformer(ModelConfig(dim=8, ffn_dim=8, heads=1), 20, ())
    hidden = torch.randn(2, 3, 8)
    # The second token of the first row, and the first and third of the second one.
    labels = Labels(torch.tensor([7, 0, 19]), torch.tensor([1, 3, 5]))
    states = torch.stack([hidden[0, 1], hidden[1, 0], hidden[1, 2]])
    logits = model.logits(states, stack=stack)
    plain = F.cross_entropy(logits, labels.ids, reduction="sum")
    term = token_loss(model, hidden, labels, stack)
    torch.testing.assert_close(term.loss, plain)
    torch.testing.assert_close(term.nll, plain.detach())
    smooth = F.cross_entropy(logits, labels.ids, reduction="sum", label_smoothing=0.3)
    term = token_loss(model, hidden, labels, stack, 0.3)
    torch.testing.assert_close(term.loss, smooth)
    torch.testing.assert_close(term.nll, plain.detach())
