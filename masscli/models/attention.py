"""Multi-head attention (Vaswani et al. 2017, section 3.2), with the kernel chosen by shape.

Shapes: B rows, T queries, L keys, H heads, K head size, D = H*K the model width; while decoding also S
sentences of W rows (beams) each. Masks are additive, in float32, and broadcastable to (B, H, T, L).

On a CPU, whole texts go to `masscli.models.blockwise_attention`, if they are in bf16 and not short, or to
`masscli.models.short_attention`, if they have up to SHORT keys. Everything else, as in decoding, goes to
PyTorch's fused kernels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.models.blockwise_attention import (
    MAX_KEYS,
    MIN_KEYS,
    blockwise_attention,
)
from masscli.models.cache import LayerCache
from masscli.models.linear import Linear
from masscli.models.short_attention import short_attention

SHORT = 256
"""Maximum number of keys for which attention of whole texts on a CPU uses `short_attention`; up to this
number it is faster than PyTorch's fused kernel."""


class SelfAttention(nn.Module):
    """Multi-head self-attention, with a single fused projection to queries, keys and values.

    `dim` is the model width D, and `attention_dropout` the probability of dropout on attention weights.
    """

    def __init__(self, dim: int, heads: int, attention_dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        # One product for queries, keys and values is faster than three.
        self.qkv = Linear(dim, 3 * dim)
        self.out = Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return the self-attention output (B, T, D) of x (B, T, D), with dropout in training mode.

        `mask` is added to the attention scores, and broadcastable to (B, H, T, T); None hides nothing.
        """
        p = self.attention_dropout if self.training else 0.0
        # The projection is passed on unchanged, so that no view or copy of it is made outside that
        # function.
        attention = _projected_attention(x, x)
        if attention is not None:
            return self._project_out(attention(self.qkv(x), None, self.heads, mask, p))
        q_BHTK, k_BHTK, v_BHTK = self._project_in(x)
        return self._project_out(_join_heads(attend(q_BHTK, k_BHTK, v_BHTK, mask, p)))

    def forward_with_keys_values(
        self, x: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the self-attention output (B, T, D) of x (B, T, D), and its keys and values (B, H, T, K).

        No dropout is applied. `mask` is added to the attention scores, and broadcastable to (B, H, T, T);
        None hides nothing.
        """
        q_BHTK, k_BHTK, v_BHTK = self._project_in(x)
        return self._project_out(
            _join_heads(attend(q_BHTK, k_BHTK, v_BHTK, mask, 0.0))
        ), (k_BHTK, v_BHTK)

    def step(
        self,
        x: Tensor,
        mask: Tensor | None,
        cache: LayerCache,
        first_slot: int,
    ) -> Tensor:
        """Return the self-attention output (S, W, D) of one new token for each of W rows of S sentences.

        x (S, W, D) are the new tokens. Their keys and values are stored in `cache`, in the W slots from
        `first_slot` on, and each row attends to the slots that `mask` (additive, broadcastable to
        (S, H, W, slots)) does not hide.
        """
        # The W rows of a sentence attend as W queries to one set of keys.
        q_SHWK, k_SHWK, v_SHWK = self._project_in(x)
        keys, values = cache.append(k_SHWK, v_SHWK, first_slot)
        return self._project_out(_join_heads(attend(q_SHWK, keys, values, mask, 0.0)))

    def _project_in(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project x (B, T, D) to queries, keys and values, each (B, H, T, K)."""
        rows, length, dim = x.shape
        qkv = self.qkv(x).view(rows, length, 3, self.heads, dim // self.heads)
        # The permutation makes views; queries, keys and values are still interleaved in memory.
        q_BHTK, k_BHTK, v_BHTK = qkv.permute(2, 0, 3, 1, 4)
        return q_BHTK, k_BHTK, v_BHTK

    def _project_out(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(x)
        return out


class CrossAttention(nn.Module):
    """Attention with queries from the decoder, and keys and values from the encoder.

    It has one output projection if `languages` is empty, else one for each target language named there (XLM's
    variant of MASS). `dim` is the width D of both stacks.
    """

    def __init__(
        self, dim: int, heads: int, attention_dropout: float, languages: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.q = Linear(dim, dim)
        # Keys and values read other states than queries, so only these two can share a product.
        self.kv = Linear(dim, 2 * dim)
        # The prefix is needed because the code of a language may be the name of a ModuleDict method,
        # such as "to".
        self.outputs = [f"language_{name}" for name in languages] or ["shared"]
        self.out = nn.ModuleDict({name: Linear(dim, dim) for name in self.outputs})

    def memory(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Project encoder states `hidden` (B, L, D) to keys and values, each (B, H, L, K)."""
        rows, length, dim = hidden.shape
        kv = self.kv(hidden).view(rows, length, 2, self.heads, dim // self.heads)
        k_BHLK, v_BHLK = kv.permute(2, 0, 3, 1, 4)
        return k_BHLK, v_BHLK

    def forward(
        self, x: Tensor, hidden: Tensor, mask: Tensor | None, language: int
    ) -> Tensor:
        """Attend from decoder states x (B, T, D) to encoder states `hidden` (B, L, D); return (B, T, D).

        `mask` is added to the attention scores, and broadcastable to (B, H, T, L); None hides nothing.
        `language` is the index of the target language, which selects the output projection (0 if there is
        only one).
        """
        # PyTorch's kernel applies dropout whenever p > 0, also in eval mode.
        p = self.attention_dropout if self.training else 0.0
        attention = _projected_attention(x, hidden)
        if attention is not None:
            mixed = attention(self.q(x), self.kv(hidden), self.heads, mask, p)
            return self._project_out(mixed, language)
        q_BHTK = self._queries(x)
        k_BHLK, v_BHLK = self.memory(hidden)
        return self._project_out(
            _join_heads(attend(q_BHTK, k_BHLK, v_BHLK, mask, p)), language
        )

    def log_weights(
        self, x: Tensor, hidden: Tensor, mask: Tensor | None, heads: int
    ) -> Tensor:
        """Return the logarithms of the attention weights of the first `heads` heads: (B, heads, T, L), fp32.

        The weights are those of `forward` with the same decoder states x (B, T, D), encoder states `hidden`
        (B, L, D) and additive `mask`, without dropout.
        """
        q_BHTK = self._queries(x)[:, :heads].float()
        k_BHLK = self.memory(hidden)[0][:, :heads].float()
        scores = q_BHTK @ k_BHLK.transpose(2, 3) * q_BHTK.shape[-1] ** -0.5
        if mask is not None:
            scores = scores + mask
        return torch.log_softmax(scores, -1)

    def step(
        self,
        x: Tensor,
        memory: tuple[Tensor, Tensor],
        mask: Tensor | None,
        language: int,
    ) -> Tensor:
        """Attend from one new token of each row, x (S, W, D), to the sources, without dropout: (S, W, D).

        `memory` are the projected keys and values (S, H, L, K) of the S sources, `mask` is additive and
        broadcastable to (S, H, W, L), and `language` is the index of the target language, which selects the
        output projection (0 if there is only one).
        """
        k_SHLK, v_SHLK = memory
        return self._project_out(
            _join_heads(attend(self._queries(x), k_SHLK, v_SHLK, mask, 0.0)), language
        )

    def _queries(self, x: Tensor) -> Tensor:
        """Project x (B, T, D) to queries (B, H, T, K)."""
        rows, length, dim = x.shape
        q: Tensor = self.q(x)
        return q.view(rows, length, self.heads, dim // self.heads).transpose(1, 2)

    def _project_out(self, x: Tensor, language: int) -> Tensor:
        out: Tensor = self.out[self.outputs[language]](x)
        return out


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float) -> Tensor:
    """Compute softmax(q k^T / sqrt(K) + mask) v, with dropout probability `p` on the weights (0 for none).

    q is (B, H, T, K), k and v are (B, H, L, K); the result is (B, H, T, K) in the dtype of q. `mask` is
    additive and broadcastable to (B, H, T, L); None hides nothing. The computation is in the dtype of keys
    and values.
    """
    dtype = q.dtype
    # A search on a CPU keeps keys and values in fp32 (`Transformer.cache_dtype`).
    q = q.to(k.dtype)
    if mask is not None:
        mask = mask.to(k.dtype)
    return F.scaled_dot_product_attention(q, k, v, mask, p).to(dtype)


def _projected_attention(x: Tensor, keys: Tensor) -> Callable[..., Tensor] | None:
    """Return the function that computes attention of x (B, T, D) to `keys` (B, L, D) from their projections.

    It is `blockwise_attention` or `short_attention`, whose arguments are the same, or None if PyTorch's
    kernels are to compute it.
    """
    if x.device.type != "cpu":
        return None
    length = keys.shape[1]
    if x.dtype == torch.bfloat16 and MIN_KEYS <= length <= MAX_KEYS:
        return blockwise_attention
    if length <= SHORT:
        return short_attention
    return None


def _join_heads(x: Tensor) -> Tensor:
    """Concatenate the heads: reshape (B, H, T, K) to (B, T, H*K)."""
    return x.transpose(1, 2).flatten(2)
