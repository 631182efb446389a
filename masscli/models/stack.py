"""Transformer layers (Vaswani et al. 2017, section 3.1), and the stacks that they form.

Shapes: B rows, T tokens of this stack, L source tokens, D model width; while decoding also S sentences of W
rows (beams) each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from masscli.models.attention import CrossAttention, SelfAttention
from masscli.models.cache import Cache, LayerCache
from masscli.models.config import ModelConfig
from masscli.models.dropout import add_dropout, dropout
from masscli.models.linear import LayerNorm, Linear
from masscli.models.lm_head import activation

Parts = Literal["both", "attention", "ffn"]
"""Which of the two halves a layer has itself: attention, a feed-forward network, or both."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a decoder attends to: encoder states (B, L, D) and their additive mask (B, 1, 1, L).

    A mask of None hides nothing.
    """

    hidden: Tensor
    mask: Tensor | None


class Layer(nn.Module):
    """A Transformer layer: self-attention, cross-attention if `cross` is set, and a feed-forward network.

    Each of them has a residual connection and a layer norm. With `parts` "attention" or "ffn" the layer has
    only that half, because the stack takes the other one from its first layer. `languages` names the target
    languages that have output projections of their own in cross-attention (empty: one projection for all).
    """

    def __init__(
        self,
        config: ModelConfig,
        cross: bool,
        languages: tuple[str, ...],
        parts: Parts = "both",
    ) -> None:
        super().__init__()
        dim = config.dim
        eps = config.norm_eps
        self.pre_norm = config.norm == "pre"
        self.dropout = config.dropout
        self.activation_dropout = config.activation_dropout
        self.activation = activation(config.activation)
        if parts != "ffn":
            self.self_attention = SelfAttention(
                dim, config.heads, config.attention_dropout
            )
            self.self_norm = LayerNorm(dim, eps)
            self.cross_attention: CrossAttention | None = None
            self.cross_norm: LayerNorm | None = None
            if cross:
                self.cross_attention = CrossAttention(
                    dim, config.heads, config.attention_dropout, languages
                )
                self.cross_norm = LayerNorm(dim, eps)
        if parts != "attention":
            self.fc1 = Linear(dim, config.ffn_dim)
            self.fc2 = Linear(config.ffn_dim, dim)
            self.ffn_norm = LayerNorm(dim, eps)

    def forward(
        self, x: Tensor, mask: Tensor | None, memory: Memory | None, language: int
    ) -> Tensor:
        """Apply attention and the feed-forward network to x (B, T, D); return (B, T, D).

        `mask` is the additive self-attention mask. Cross-attention is left out if `memory` is None.
        `language` is the index of the target language, which selects the output projection of
        cross-attention.
        """
        return self.ffn_block(self.attention_block(x, mask, memory, language))

    def attention_block(
        self, x: Tensor, mask: Tensor | None, memory: Memory | None, language: int
    ) -> Tensor:
        """Apply self-attention, and cross-attention if there is any and `memory` is given: (B, T, D).

        x is (B, T, D), `mask` the additive self-attention mask, and `language` the index of the target
        language, which selects the output projection of cross-attention.
        """
        y = self.self_attention(self._norm_before(x, self.self_norm), mask)
        x = self._add(x, y, self.self_norm)
        # A decoder may be run without memory, as a language model.
        if (
            self.cross_attention is not None
            and self.cross_norm is not None
            and memory is not None
        ):
            query = self._norm_before(x, self.cross_norm)
            y = self.cross_attention(query, memory.hidden, memory.mask, language)
            x = self._add(x, y, self.cross_norm)
        return x

    def attention_block_with_weights(
        self, x: Tensor, mask: Tensor | None, memory: Memory, language: int, heads: int
    ) -> tuple[Tensor, Tensor]:
        """Do as `attention_block`, and return its result (B, T, D) and log-weights of cross-attention.

        The latter are (B, heads, T, L), in fp32, of the first `heads` heads of this layer, which must have
        cross-attention.
        """
        assert self.cross_attention is not None and self.cross_norm is not None
        y = self.self_attention(self._norm_before(x, self.self_norm), mask)
        x = self._add(x, y, self.self_norm)
        query = self._norm_before(x, self.cross_norm)
        log_weights = self.cross_attention.log_weights(
            query, memory.hidden, memory.mask, heads
        )
        y = self.cross_attention(query, memory.hidden, memory.mask, language)
        return self._add(x, y, self.cross_norm), log_weights

    def attention_block_with_cache(
        self, x: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Apply self-attention, without cross-attention, to x (B, T, D), with the additive mask `mask`.

        Return the result (B, T, D), and the keys and values, each (B, H, T, K), to be cached.
        """
        normed = self._norm_before(x, self.self_norm)
        y, keys_values = self.self_attention.forward_with_keys_values(normed, mask)
        return self._add(x, y, self.self_norm), keys_values

    def attention_block_step(
        self,
        x: Tensor,
        mask: Tensor | None,
        cache: Cache,
        layer: LayerCache,
        language: int,
    ) -> Tensor:
        """Apply self-attention and cross-attention (if any) to one new token of each row, x (S, W, D).

        Return (S, W, D). The keys and values of the tokens are stored in `layer`, this layer's part of
        `cache`, in its current slots. `mask` is the additive self-attention mask (S, 1, W, slots), and
        `language` the index of the target language.
        """
        normed = self._norm_before(x, self.self_norm)
        y = self.self_attention.step(normed, mask, layer, cache.current_slot)
        x = self._add(x, y, self.self_norm)
        if (
            self.cross_attention is not None
            and self.cross_norm is not None
            and layer.cross is not None
        ):
            # Rows of one sentence share the memory, so they attend as W queries of one batch entry.
            query = self._norm_before(x, self.cross_norm)
            y = self.cross_attention.step(
                query, layer.cross, cache.cross_mask, language
            )
            x = self._add(x, y, self.cross_norm)
        return x

    def ffn_block(self, x: Tensor) -> Tensor:
        """Apply the feed-forward network, with residual connection and layer norm, to x (B, T, D)."""
        y = self.activation(self.fc1(self._norm_before(x, self.ffn_norm)))
        y = self.fc2(dropout(y, self.activation_dropout, self.training))
        return self._add(x, y, self.ffn_norm)

    def _norm_before(self, x: Tensor, norm: LayerNorm) -> Tensor:
        """Normalize the input of a block if the layer is pre-norm, else return it unchanged."""
        if not self.pre_norm:
            return x
        normed: Tensor = norm(x)
        return normed

    def _add(self, x: Tensor, y: Tensor, norm: LayerNorm) -> Tensor:
        """Return block input x plus dropout of block output y, normalized if the layer is post-norm."""
        x = add_dropout(x, y, self.dropout, self.training)
        if self.pre_norm:
            return x
        normed: Tensor = norm(x)
        return normed


class Stack(nn.Module):
    """An encoder or a decoder: `num_layers` layers and, if `final_norm` is set, a layer norm at the end.

    `config` has the values of this stack. `cross` says whether layers have cross-attention, and `languages`
    names the target languages with output projections of their own there (empty: one projection for all).

    Where layers share weights (ALBERT, Lan et al. 2020), `layers` holds each weight once: the first layer has
    the shared part, the others only what is their own. `layer_halves` lists what runs at each depth.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_layers: int,
        cross: bool,
        languages: tuple[str, ...],
        final_norm: bool,
    ) -> None:
        super().__init__()
        self.share = config.share_layers
        self.num_layers = num_layers
        self.checkpoint_activations = False
        """Whether layers run again in the backward pass, so that their inner activations need not be kept."""
        layers = [Layer(config, cross, languages)]
        # The halves that later layers have themselves, by which weights all layers share.
        own_parts: dict[str, Parts] = {
            "none": "both",
            "attention": "ffn",
            "ffn": "attention",
        }
        # With "all", the first layer is the only one.
        if self.share in own_parts:
            for _ in range(num_layers - 1):
                layers.append(Layer(config, cross, languages, own_parts[self.share]))
        self.layers = nn.ModuleList(layers)
        self.norm = LayerNorm(config.dim, config.norm_eps) if final_norm else None

    @property
    def layer_halves(self) -> list[tuple[Layer, Layer]]:
        """Return a pair for each depth: the layer whose attention runs there, and the one whose FFN does."""
        layers = [cast(Layer, layer) for layer in self.layers]
        first = layers[0]
        if self.share == "all":
            return [(first, first)] * self.num_layers
        if self.share == "attention":
            return [(first, layer) for layer in layers]
        if self.share == "ffn":
            return [(layer, first) for layer in layers]
        return [(layer, layer) for layer in layers]

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        memory: Memory | None = None,
        language: int = 0,
    ) -> Tensor:
        """Apply all layers and the final layer norm (if any) to x (B, T, D); return (B, T, D).

        `mask` is the additive self-attention mask; without `memory`, cross-attention is left out. `language`
        is the index of the target language, which selects the output projections of cross-attention.
        """
        for attention_layer, ffn_layer in self.layer_halves:
            x = self._run_layer(attention_layer, ffn_layer, x, mask, memory, language)
        return self.apply_norm(x)

    def forward_with_weights(
        self,
        x: Tensor,
        mask: Tensor | None,
        memory: Memory,
        language: int,
        layer: int,
        heads: int,
    ) -> tuple[Tensor, Tensor]:
        """Do as `forward`, and return its result (B, T, D) and log-weights of cross-attention.

        The latter are (B, heads, T, L), in fp32, of the first `heads` heads of the layer number `layer`,
        counted from 0.
        """
        log_weights = None
        for number, (attention_layer, ffn_layer) in enumerate(self.layer_halves):
            if number == layer:
                x, log_weights = attention_layer.attention_block_with_weights(
                    x, mask, memory, language, heads
                )
                x = ffn_layer.ffn_block(x)
            else:
                x = self._run_layer(
                    attention_layer, ffn_layer, x, mask, memory, language
                )
        assert log_weights is not None
        return self.apply_norm(x), log_weights

    def _run_layer(
        self,
        attention_layer: Layer,
        ffn_layer: Layer,
        x: Tensor,
        mask: Tensor | None,
        memory: Memory | None,
        language: int,
    ) -> Tensor:
        """Map x (B, T, D) to (B, T, D) with the attention of one layer and the FFN of another.

        In training with `checkpoint_activations`, intermediate results are not kept.
        """
        if not (self.checkpoint_activations and torch.is_grad_enabled()):
            return _run_halves(attention_layer, ffn_layer, x, mask, memory, language)
        # The state of the random generator is restored, so dropout is the same both times.
        y: Tensor = checkpoint(
            _run_halves,
            attention_layer,
            ffn_layer,
            x,
            mask,
            memory,
            language,
            use_reentrant=False,
        )
        return y

    def apply_norm(self, x: Tensor) -> Tensor:
        """Return x (B, T, D) after the final layer norm, or unchanged if the stack has none."""
        if self.norm is None:
            return x
        normed: Tensor = self.norm(x)
        return normed


def _run_halves(
    attention_layer: Layer,
    ffn_layer: Layer,
    x: Tensor,
    mask: Tensor | None,
    memory: Memory | None,
    language: int,
) -> Tensor:
    """Map x (B, T, D) to (B, T, D) with the attention of one layer and the FFN of another."""
    if attention_layer is ffn_layer:
        # A call of the whole layer, so that hooks and per-layer compilation apply.
        y: Tensor = attention_layer(x, mask, memory, language)
        return y
    return ffn_layer.ffn_block(
        attention_layer.attention_block(x, mask, memory, language)
    )
