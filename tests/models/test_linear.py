"""Tests of linear layers for training against the same in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from masscli.models import linear
from masscli.models.linear import Linear

ROUNDING = 2**-8
"""Half of the distance between two neighbouring numbers in bf16, as a share of them."""


def numbers_in_bf16(*shape: int) -> Tensor:
    """Return random numbers that bf16 has, in fp32."""
    return torch.randn(shape).bfloat16().float()


def check_rounded_once(found: Tensor, exact: Tensor) -> None:
    """Check that bf16 numbers are the exact ones, rounded, but for the last digits of an fp32 sum."""
    error = (found.double() - exact).abs()
    assert bool((error <= ROUNDING * exact.abs() + 1e-3).all())


@pytest.mark.parametrize("shape", [(0, 517), (1, 517), (7, 517), (3, 5, 517)])
def test_values_and_gradients_in_bf16_are_exact_but_for_one_rounding(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel adds the bias before it rounds, also for a view whose rows are far apart, and for no rows."""
    if not linear.HAS_BF16_KERNELS:
        pytest.skip("this processor, or this build of PyTorch, has no bf16 kernels")
    monkeypatch.setattr(linear, "SMALLEST_FUSED", 0)
    torch.manual_seed(1)
    layer = Linear(517, 301)
    layer.weight.data = numbers_in_bf16(301, 517)
    layer.bias.data = numbers_in_bf16(301)
    x = numbers_in_bf16(*shape).bfloat16().repeat_interleave(2, 0)[::2]
    x.requires_grad_()
    slope = numbers_in_bf16(*shape[:-1], 301).bfloat16()
    y = layer(x)
    assert y.dtype == torch.bfloat16
    found = torch.autograd.grad(y, (x, layer.weight, layer.bias), slope)

    exact_x, weight, bias = (
        t.detach().double().requires_grad_() for t in (x, layer.weight, layer.bias)
    )
    exact_y = F.linear(exact_x, weight, bias)
    wanted = torch.autograd.grad(exact_y, (exact_x, weight, bias), slope.double())
    check_rounded_once(y, exact_y)
    for ours, exact in zip(found, wanted, strict=True):
        check_rounded_once(ours, exact)
    assert found[1].dtype == found[2].dtype == torch.float32


@pytest.mark.parametrize("frozen", ["weight", "bias", "x"])
def test_what_is_frozen_gets_no_gradient(
    frozen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "SMALLEST_FUSED", 0)
    layer = Linear(40, 30)
    leaves = {
        "x": torch.randn(5, 40).bfloat16().requires_grad_(),
        "weight": layer.weight,
        "bias": layer.bias,
    }
    leaves[frozen].requires_grad_(False)
    layer(leaves["x"]).float().sum().backward()
    has_gradient = {name for name, leaf in leaves.items() if leaf.grad is not None}
    assert has_gradient == set(leaves) - {frozen}
