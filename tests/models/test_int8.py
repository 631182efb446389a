"""Tests of linear layers with 8-bit weights against integer arithmetic written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Tokens
from masscli.models.config import ModelConfig
from masscli.models.int8 import (
    ENGINE,
    ZERO_POINT,
    Int8Linear,
    check_int8,
    input_steps,
    product,
    to_int8,
)
from masscli.models.transformer import Transformer

pytestmark = pytest.mark.skipif(
    ENGINE not in torch.backends.quantized.supported_engines,
    reason="no 8-bit kernels for this processor",
)


def by_hand(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Round weights by output and inputs by row, multiply integers, and scale back, in float64."""
    weight_scales = weight.abs().amax(1) / 127
    weight_ids = (weight / weight_scales[:, None]).round()
    input_scales = x.abs().amax(1) / input_steps()
    input_ids = (x / input_scales[:, None]).round()
    products = input_ids.double() @ weight_ids.double().T
    return products * input_scales[:, None] * weight_scales + bias


def test_products_are_those_of_integers() -> None:
    torch.manual_seed(1)
    x, weight, bias = torch.randn(9, 64), torch.randn(40, 64), torch.randn(40)
    result = Int8Linear(weight, bias)(x)
    difference = (result.double() - by_hand(x, weight, bias)).abs()
    # An input in the middle between two steps may be rounded to either of them.
    step = (x.abs().amax(1, keepdim=True) / input_steps()) * weight.abs().max()
    assert (difference <= 1.01 * step).all()
    assert difference.median() < 1e-5
    exact = x @ weight.T + bias
    assert (result - exact).abs().mean() < 0.02 * exact.abs().mean()


def test_zeros_stay_zeros() -> None:
    layer = Int8Linear(torch.zeros(8, 16), None)
    assert torch.equal(layer(torch.zeros(2, 16)), torch.zeros(2, 8))
    assert torch.equal(layer(torch.ones(2, 16)), torch.zeros(2, 8))


@pytest.mark.parametrize("has_bias", [False, True])
def test_the_compiled_product_is_the_plain_one(has_bias: bool) -> None:
    torch.manual_seed(5)
    layer = Int8Linear(torch.randn(40, 64), torch.randn(40) if has_bias else None)
    # TorchScript optimizes a function anew after it has run once, and again for other numbers of rows.
    for shape in [(5, 64), (5, 64), (5, 64), (320, 64), (3, 2, 64), (1, 64)]:
        x = torch.randn(shape)
        plain = product(x, layer.packed, layer.bias, layer.step, ZERO_POINT)
        assert torch.equal(layer(x), plain)


@pytest.mark.parametrize("width", [16, 17, 512])
def test_a_row_of_zeros_has_the_bias_as_its_result(width: int) -> None:
    torch.manual_seed(4)
    bias = torch.randn(24)
    layer = Int8Linear(torch.randn(24, width), bias)
    x = torch.randn(6, width)
    result = layer(x)
    x[2] = 0.0
    assert torch.equal(layer(x)[2], bias)
    assert torch.equal(layer(x)[3], result[3])


def test_a_row_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(2)
    layer = Int8Linear(torch.randn(96, 64), torch.randn(96))
    # Rows of very different size would share a scale if there was one for the whole batch.
    x = torch.randn(50, 64) * torch.logspace(-3, 3, 50)[:, None]
    together = layer(x)
    for row in range(50):
        assert torch.equal(layer(x[row : row + 1])[0], together[row])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "post", "output_bias": True, "embeddings": "separate"},
        {"head_transform": True, "embedding_dim": 16},
    ],
    ids=str,
)
def test_a_model_in_8_bits_is_close_to_the_model_in_fp32(
    options: dict[str, Any],
) -> None:
    torch.manual_seed(3)
    config = ModelConfig(
        dim=64,
        ffn_dim=128,
        heads=4,
        encoder_layers=2,
        decoder_layers=2,
        dropout=0.0,
        **options,
    )
    model = Transformer(config, 50, ()).eval().requires_grad_(False)
    ids = torch.randint(5, 50, (6, 9))
    tokens = Tokens(ids, torch.full((6,), 9))
    exact = model.logits(model.decode(tokens, model.encode(tokens)))
    to_int8(model)
    rounded = model.logits(model.decode(tokens, model.encode(tokens)))
    error = (rounded - exact).std() / exact.std()
    assert 1e-4 < error < 0.1


def test_8_bits_are_refused_on_a_gpu() -> None:
    with pytest.raises(MasscliError, match="is for CPUs, not for cuda"):
        check_int8(torch.device("cuda"))
