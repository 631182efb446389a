"""The weights that a decoder tells of its cross-attention are those that it mixes with, and change nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from masscli.data.batches.batch import Tokens
from masscli.models.attention import CrossAttention
from masscli.models.config import ModelConfig
from masscli.models.masks import additive_mask
from masscli.models.transformer import Transformer


def test_the_weights_are_those_that_values_are_mixed_with() -> None:
    torch.manual_seed(2)
    attention = CrossAttention(12, 3, 0.0, ()).double()
    x, hidden = (
        torch.randn(2, 4, 12, dtype=torch.float64),
        torch.randn(2, 5, 12, dtype=torch.float64),
    )
    mask = additive_mask(torch.arange(5) < torch.tensor([5, 3])[:, None])[:, None, None]
    weights = attention.log_weights(x, hidden, mask, 3).exp()
    assert (
        torch.allclose(weights.sum(-1), torch.ones(2, 3, 4))
        and not weights[1, :, :, 3:].any()
    )
    values = attention.memory(hidden)[1].float()
    mixed = (weights @ values).transpose(1, 2).flatten(2).double()
    expected = attention(x, hidden, mask, 0)
    assert torch.allclose(attention.out["shared"](mixed), expected, atol=1e-5)
    assert torch.allclose(
        attention.log_weights(x, hidden, mask, 1)[:, 0].exp(), weights[:, 0]
    )


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize(
    "changes",
    [{}, {"norm": "post"}, {"share_layers": "ffn"}, {"share_layers": "all"}],
    ids=str,
)
def test_returning_the_weights_does_not_change_the_output(
    changes: dict[str, Any], layer: int
) -> None:
    torch.manual_seed(3)
    shape = {
        "dim": 12,
        "ffn_dim": 16,
        "heads": 3,
        "encoder_layers": 1,
        "decoder_layers": 3,
        "dropout": 0.2,
    }
    model = Transformer(ModelConfig(**(shape | changes)), 30, ())
    ids = torch.randint(0, 30, (2, 6))
    source, target = (
        Tokens(ids, torch.tensor([6, 4])),
        Tokens(ids[:, :5], torch.tensor([5, 2])),
    )
    gradients = []
    for told in (False, True):
        for keeps in (True, False):
            assert model.decoder is not None
            model.decoder.checkpoint_activations = not keeps
            torch.manual_seed(4)
            memory = model.encode(source)
            if told:
                hidden, log_weights = model.decode_with_weights(
                    target, memory, layer, 2
                )
                assert log_weights.shape == (2, 2, 5, 6)
            else:
                hidden = model.decode(target, memory)
            gradients.append(
                torch.autograd.grad(
                    hidden.square().sum(), model.encoder.layers[0].fc1.weight
                )[0]
            )  # type: ignore[union-attr,arg-type]
    assert all(torch.equal(gradients[0], other) for other in gradients)
