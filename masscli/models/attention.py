"""Multi-head attention (Vaswani et al. 2017, section 3.2), with the kernel chosen by shape.

Shapes: B rows, T queries, L keys, H heads, K head size, D = H*K.  Masks are additive float32, broadcastable to (B, H, T, L).

Whole texts of up to SHORT keys on a CPU go to `masscli.models.short_attention`; everything else to PyTorch's kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.models.cache import LayerCache
from masscli.models.dropout import dropout
from masscli.models.linear import Linear
from masscli.models.short_attention import short_attention

SHORT = 256  # keys up to which the plain product wins on a CPU


class SelfAttention(nn.Module):
    """Queries, keys and values from one input; a single fused projection."""

    def __init__(self, dim: int, heads: int, attention_dropout: float) -> None:
        super().__init__()
        self.heads, self.attention_dropout = heads, attention_dropout
        self.qkv = Linear(dim, 3 * dim)
        self.out = Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        p = self.attention_dropout if self.training else 0.0
        if _short(x, x):
            return self._out(short_attention(self.qkv(x), None, self.heads, mask, p))
        return self._out(_join(attend(*self._project(x), mask, p)))

    def remember(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The same, with the keys and values (B, H, T, K) of what was read."""
        q, k, v = self._project(x)
        return self._out(_join(attend(q, k, v, mask, 0.0))), (k, v)

    def step(self, x: Tensor, mask: Tensor | None, cache: LayerCache, at: int, width: int) -> Tensor:
        """One token for each of S*W rows, x (S*W, 1, D) -> (S*W, 1, D); keys go to slots at.. of the cache."""
        n, _, dim = x.shape
        q, k, v = self._project(
            x.view(n // width, width, dim)
        )  # (S, H, W, K): the rows of a sentence are its queries
        keys, values = cache.append(k, v, at)
        return self._out(_join(attend(q, keys, values, mask, 0.0))).view(n, 1, dim)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, length, dim = x.shape
        q, k, v = self.qkv(x).view(rows, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        return q, k, v

    def _out(self, mixed: Tensor) -> Tensor:
        out: Tensor = self.out(mixed)
        return out


class CrossAttention(nn.Module):
    """Queries from the decoder, keys and values from the encoder; `outputs` has one output projection, or one per target language."""

    def __init__(self, dim: int, heads: int, attention_dropout: float, languages: tuple[str, ...]) -> None:
        super().__init__()
        self.heads, self.attention_dropout = heads, attention_dropout
        self.q = Linear(dim, dim)
        self.kv = Linear(dim, 2 * dim)
        self.outputs = [f"language_{name}" for name in languages] or [
            "shared"
        ]  # a bare name may be that of a module's method, as "to" is
        self.out = nn.ModuleDict({name: Linear(dim, dim) for name in self.outputs})

    def memory(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder states (B, L, D) -> keys and values (B, H, L, K)."""
        rows, length, dim = hidden.shape
        k, v = self.kv(hidden).view(rows, length, 2, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        return k, v

    def forward(self, x: Tensor, hidden: Tensor, mask: Tensor | None, language: int) -> Tensor:
        """x (B, T, D), encoder states (B, L, D) -> (B, T, D)."""
        p = self.attention_dropout if self.training else 0.0
        if _short(x, hidden):
            return self._out(short_attention(self.q(x), self.kv(hidden), self.heads, mask, p), language)
        return self._out(_join(attend(self._queries(x), *self.memory(hidden), mask, p)), language)

    def step(self, x: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor | None, language: int) -> Tensor:
        """One token for each of S sentences' W rows, x (S, W, D), and the sentences' keys and values (S, H, L, K) -> (S, W, D)."""
        return self._out(_join(attend(self._queries(x), *memory, mask, 0.0)), language)

    def _queries(self, x: Tensor) -> Tensor:
        rows, length, dim = x.shape
        q: Tensor = self.q(x)
        return q.view(rows, length, self.heads, dim // self.heads).transpose(1, 2)

    def _out(self, mixed: Tensor, language: int) -> Tensor:
        out: Tensor = self.out[self.outputs[language]](mixed)
        return out


def _short(x: Tensor, keys: Tensor) -> bool:
    return x.device.type == "cpu" and keys.shape[1] <= SHORT


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float) -> Tensor:
    """softmax(q k^T / sqrt(K) + mask) v, with dropout `p` on the weights: (B, H, T, K) in the type of `q`.

    On a CPU, keys and values may be kept in fp32 when queries are bf16: small products are faster there in fp32.
    """
    if q.device.type != "cpu" or k.shape[2] > SHORT:
        k, v = k.to(q.dtype), v.to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, mask if mask is None else mask.to(q.dtype), p)
    rows, heads, queries, size = q.shape
    keys, dtype = k.shape[2], q.dtype
    if dtype in (torch.bfloat16, torch.float16):
        q, k, v = q.float(), k.float(), v.float()
    q, k, v = q.reshape(-1, queries, size), k.reshape(-1, keys, size), v.reshape(-1, keys, size)
    scores = torch.bmm(q * size**-0.5, k.transpose(1, 2)).view(rows, heads, queries, keys)
    if mask is not None:
        scores += mask
    weights = dropout(scores.softmax(-1), p, training=p > 0)
    return torch.bmm(weights.view(-1, queries, keys), v).view(rows, heads, queries, size).to(dtype)


def _join(x: Tensor) -> Tensor:
    """(B, H, T, K) -> (B, T, H*K)."""
    return x.transpose(1, 2).flatten(2)
