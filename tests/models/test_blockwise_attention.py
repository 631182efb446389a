"""Attention by blocks against the equation, with autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from masscli.models import attention, blockwise_attention
from masscli.models.attention import SelfAttention
from masscli.models.dropout import keep_mask

ROWS, HEADS, QUERIES, KEYS, SIZE = 3, 4, 5, 7, 8
LEARNED = {
    "of rows": (ROWS, 1, 1, KEYS),
    "of heads": (1, HEADS, QUERIES, KEYS),
    "of all": (ROWS, HEADS, QUERIES, KEYS),
}


def plain_attention(
    fused: Tensor, memory: Tensor | None, mask: Tensor, keep: Tensor | float
) -> Tensor:
    """Return softmax(q k^T / sqrt(K) + mask) * keep v of projections, as `blockwise_attention` takes them."""
    q = fused.unflatten(2, (-1, HEADS, SIZE))[:, :, 0].transpose(1, 2)
    both = fused if memory is None else memory
    k, v = both.unflatten(2, (-1, HEADS, SIZE)).transpose(1, 3).unbind(2)[-2:]
    weights = (q @ k.mT / SIZE**0.5 + mask).softmax(-1)
    return (weights * keep @ v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("p", [0.0, 0.4])
@pytest.mark.parametrize("mask_shape", LEARNED.values(), ids=list(LEARNED))
@pytest.mark.parametrize("keep_weights", [True, False])
@pytest.mark.parametrize(
    "block", [1, 2 * QUERIES * KEYS, 2 * HEADS * QUERIES * KEYS, 10**6]
)
def test_attention_by_blocks_has_the_values_and_gradients_of_the_equation(
    block: int,
    keep_weights: bool,
    mask_shape: tuple[int, ...],
    p: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Blocks are one head, two heads, two rows of three, and everything."""
    monkeypatch.setattr(blockwise_attention, "BLOCK_NUMBERS", block)
    monkeypatch.setattr(blockwise_attention, "MAX_KEPT", KEYS if keep_weights else 0)
    torch.manual_seed(1)
    fused = torch.randn(ROWS, QUERIES, HEADS * SIZE, requires_grad=True)
    memory = torch.randn(ROWS, KEYS, 2 * HEADS * SIZE, requires_grad=True)
    mask = torch.randn(mask_shape)
    mask = mask.masked_fill_(torch.rand(mask_shape) < 0.3, -1e30).requires_grad_()
    slope = torch.randn(ROWS, QUERIES, HEADS * SIZE)
    leaves = (fused, memory, mask)
    torch.manual_seed(5)
    actual = blockwise_attention.blockwise_attention(fused, memory, HEADS, mask, p)
    ours = torch.autograd.grad(actual, leaves, slope)

    torch.manual_seed(5)
    keep: Tensor | float = 1.0
    if p:
        shape = torch.Size((ROWS, HEADS, QUERIES, KEYS))
        keep = keep_mask(shape, p, torch.float32)
    expected = plain_attention(fused, memory, mask, keep)
    theirs = torch.autograd.grad(expected, leaves, slope)
    for a, b in zip((actual, *ours), (expected, *theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("p", [0.0, 0.1])
@pytest.mark.parametrize("keys", [64, 100, 300])
def test_attention_of_long_texts_in_bf16_differs_by_its_rounding_only(
    keys: int, p: float
) -> None:
    """Compare with the same numbers in fp32, for values, gradients and the gradient of a learned mask."""
    torch.manual_seed(1)
    fused = torch.randn(2, keys, 3 * HEADS * SIZE).bfloat16().requires_grad_()
    exact = fused.detach().float().requires_grad_()
    mask = torch.randn(2, 1, keys, keys, requires_grad=True)
    slope = torch.randn(2, keys, HEADS * SIZE).bfloat16()
    torch.manual_seed(5)
    actual = blockwise_attention.blockwise_attention(fused, None, HEADS, mask, p)
    ours = torch.autograd.grad(actual, (fused, mask), slope)
    torch.manual_seed(5)
    keep: Tensor | float = 1.0
    if p:
        keep = keep_mask(torch.Size((2, HEADS, keys, keys)), p, torch.float32)
    expected = plain_attention(exact, None, mask, keep)
    theirs = torch.autograd.grad(expected, (exact, mask), slope.float())
    assert actual.dtype == ours[0].dtype == torch.bfloat16
    assert ours[1].dtype == torch.float32
    for a, b in zip((actual, *ours), (expected, *theirs), strict=True):
        error = (a.detach().float() - b.detach()).norm() / b.detach().norm()
        assert float(error) < 0.02


def test_a_row_of_long_text_does_not_depend_on_its_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Alone and in a batch of five, which takes several blocks, a row has the same states, bit by bit."""
    called = []

    def observed(*arguments: object) -> Tensor:
        called.append(arguments)
        return blockwise_attention.blockwise_attention(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(attention, "blockwise_attention", observed)
    monkeypatch.setattr(blockwise_attention, "BLOCK_NUMBERS", 2 * 2 * 70 * 70)
    torch.manual_seed(1)
    layer = SelfAttention(64, 2, 0.0).eval()
    x = torch.randn(5, 70, 64).bfloat16()
    together = layer(x, None).detach()
    for row in range(5):
        assert torch.equal(layer(x[row : row + 1], None)[0], together[row])
    assert len(called) == 6
