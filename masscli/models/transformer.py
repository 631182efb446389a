"""The one Transformer (Vaswani et al. 2017): an encoder, a decoder, or both, and the output layer that belongs to it.

It sees ids and vectors, never text; it knows languages by name and by index into `languages`.  Shapes: B rows, L source and T target
tokens, D model width, V vocabulary, H heads.  Sizes are data (presets.toml); every variant that the sources of masscli publish is a
choice of `ModelConfig`, not a subclass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Tokens
from masscli.models.attention import CrossAttention, SelfAttention
from masscli.models.cache import ROOM, Cache, LayerCache
from masscli.models.config import ModelConfig
from masscli.models.dropout import dropout
from masscli.models.linear import LayerNorm, Linear
from masscli.models.lm_head import HeadTransform, activation
from masscli.models.loss import linear_cross_entropy
from masscli.models.masks import causal_mask, cross_attention_mask, self_attention_mask
from masscli.models.relative_positions import RelativeBias


@dataclass(frozen=True, slots=True)
class Memory:
    """What an encoder leaves to a decoder: states (B, L, D) and the additive mask (B, 1, 1, L) of what may be attended to."""

    hidden: Tensor
    mask: Tensor | None


class InputEmbedding(nn.Module):
    """Adds positions, languages and segments to token vectors; the token table is handed in, since stacks may share it."""

    def __init__(self, config: ModelConfig, languages: int) -> None:
        super().__init__()
        dim = config.embedding_dim or config.dim
        self.scale = math.sqrt(dim) if config.scale_embedding else 1.0
        self.dropout = config.dropout
        self.positions = _embedding(config.max_positions, dim) if config.positions == "learned" else None
        if self.positions is None:
            self.register_buffer("sinusoids", sinusoids(config.max_positions, dim), persistent=False)
        self.languages = _embedding(languages, dim) if languages else None
        self.segments = _embedding(config.segments, dim) if config.segments else None
        self.norm = LayerNorm(dim, config.norm_eps) if config.norm_embedding else None

    def forward(self, tokens: Tokens, table: Tensor, offset: int, dtype: torch.dtype) -> Tensor:
        """Vectors (B, L, D) in `dtype` of tokens whose first one, unless they say otherwise, has position `offset`."""
        x = F.embedding(tokens.ids, table)
        if self.scale != 1.0:
            x = x * self.scale
        positions = self.positions.weight if self.positions is not None else self.get_buffer("sinusoids")
        if tokens.positions is not None:
            x = x + F.embedding(tokens.positions, positions)
        else:
            x = x + positions[offset : offset + tokens.ids.shape[1]]
        if self.languages is not None and tokens.language is not None:
            x = x + self.languages(
                tokens.language if tokens.language.dim() == 2 else tokens.language[:, None]
            )
        if (
            self.segments is not None
        ):  # a text that does not say is the first, and so is every one where there is one kind (RoBERTa)
            alike = tokens.segments is None or len(self.segments.weight) == 1
            x = x + (self.segments.weight[0] if alike else self.segments(tokens.segments))
        x = x.to(dtype)
        if self.norm is not None:
            x = self.norm(x)
        return dropout(x, self.dropout, self.training)


class Layer(nn.Module):
    """Self-attention, cross-attention where there is a memory, feed-forward; each with a residual sum and a layer norm.

    A layer may hold one `half` only, where the other is shared with the first layer.
    """

    def __init__(
        self, config: ModelConfig, cross: bool, languages: tuple[str, ...], half: str = "both"
    ) -> None:
        super().__init__()
        dim, eps = config.dim, config.norm_eps
        self.pre = config.norm == "pre"
        self.dropout, self.activation_dropout = config.dropout, config.activation_dropout
        self.activation = activation(config.activation)
        if half != "ffn":
            self.self_attention = SelfAttention(dim, config.heads, config.attention_dropout)
            self.self_norm = LayerNorm(dim, eps)
            self.cross_attention = (
                CrossAttention(dim, config.heads, config.attention_dropout, languages) if cross else None
            )
            self.cross_norm = LayerNorm(dim, eps) if cross else None
        if half != "attention":
            self.fc1 = Linear(dim, config.ffn_dim)
            self.fc2 = Linear(config.ffn_dim, dim)
            self.ffn_norm = LayerNorm(dim, eps)

    def forward(self, x: Tensor, mask: Tensor | None, memory: Memory | None, language: int) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        return self.ffn_block(self.attention_block(x, mask, memory, language))

    def attention_block(self, x: Tensor, mask: Tensor | None, memory: Memory | None, language: int) -> Tensor:
        """The attention half."""
        x = self._add(x, self.self_attention(self._before(x, self.self_norm), mask), self.self_norm)
        if self.cross_attention is not None and self.cross_norm is not None and memory is not None:
            y = self.cross_attention(self._before(x, self.cross_norm), memory.hidden, memory.mask, language)
            x = self._add(x, y, self.cross_norm)
        return x

    def ffn_block(self, x: Tensor) -> Tensor:
        """The feed-forward half."""
        return self._add(x, self._feed_forward(self._before(x, self.ffn_norm)), self.ffn_norm)

    def step(self, x: Tensor, mask: Tensor | None, cache: Cache, layer: LayerCache, language: int) -> Tensor:
        """The attention half for one token of each row of the cache: x (S*W, 1, D) -> (S*W, 1, D)."""
        at = cache.start + (cache.length - 1) * cache.width
        x = self._add(
            x,
            self.self_attention.step(self._before(x, self.self_norm), mask, layer, at, cache.width),
            self.self_norm,
        )
        if self.cross_attention is not None and self.cross_norm is not None and layer.cross is not None:
            rows = self._before(x, self.cross_norm).view(cache.sentences, cache.width, -1)
            y = self.cross_attention.step(rows, layer.cross, cache.cross_mask, language).view_as(x)
            x = self._add(x, y, self.cross_norm)
        return x

    def remember(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The attention half of a layer without memory, and its keys and values."""
        y, kept = self.self_attention.remember(self._before(x, self.self_norm), mask)
        return self._add(x, y, self.self_norm), kept

    def _feed_forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(dropout(self.activation(self.fc1(x)), self.activation_dropout, self.training))
        return out

    def _before(self, x: Tensor, norm: LayerNorm) -> Tensor:
        return norm(x) if self.pre else x

    def _add(self, x: Tensor, y: Tensor, norm: LayerNorm) -> Tensor:
        x = x + dropout(y, self.dropout, self.training)
        return x if self.pre else norm(x)


class Stack(nn.Module):
    """Layers in a row, with a last norm when they are pre-norm.

    Where layers share weights (Lan et al. 2020) the first holds what is shared, and `layers` only what is not; `depths` are the layers
    in the order in which they are run, each as whose attention and whose feed-forward half it is.
    """

    def __init__(self, config: ModelConfig, layers: int, cross: bool, languages: tuple[str, ...]) -> None:
        super().__init__()
        share, self.count = config.share_layers, layers
        rest = {"none": "both", "attention": "ffn", "ffn": "attention"}.get(share)
        halves = ["both", *([rest] * (layers - 1) if rest is not None else [])]
        self.share = share
        self.layers = nn.ModuleList(Layer(config, cross, languages, half) for half in halves)
        self.norm = LayerNorm(config.dim, config.norm_eps) if config.norm == "pre" else None

    @property
    def depths(self) -> list[tuple[Layer, Layer]]:
        """(attention, feed-forward) of every depth."""
        owned = [cast(Layer, layer) for layer in self.layers]
        if self.share == "all":
            return [(owned[0], owned[0])] * self.count
        return [
            (owned[0] if self.share == "attention" else x, owned[0] if self.share == "ffn" else x)
            for x in owned
        ]

    def forward(
        self, x: Tensor, mask: Tensor | None, memory: Memory | None = None, language: int = 0
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        for mixing, feeding in self.depths:
            x = (
                mixing(x, mask, memory, language)
                if mixing is feeding
                else feeding.ffn_block(mixing.attention_block(x, mask, memory, language))
            )
        return self.norm(x) if self.norm is not None else x


class Transformer(nn.Module):
    """An encoder, a decoder, or both.

    `vocab_size` is V; `languages` are the names of the languages whose vectors (and cross-attention outputs) the model holds, empty when it
    does not tell them apart.  `compute` is the type its products run in; weights stay in fp32 unless the whole model is cast for inference.
    """

    def __init__(self, config: ModelConfig, vocab_size: int, languages: tuple[str, ...]) -> None:
        super().__init__()
        self.config, self.vocab_size, self.languages = config, vocab_size, languages
        self.compute = torch.float32
        embedded = len(languages) if config.languages == "embedding" else 0
        both = config.encoder_layers > 0 and config.decoder_layers > 0
        stacks = [
            n
            for n, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers))
            if layers
        ]
        owners = stacks if config.embeddings == "separate" else ["shared"]
        width = config.embedding_dim or config.dim
        self.tables = nn.ParameterDict({n: nn.Parameter(torch.empty(vocab_size, width)) for n in owners})
        self.biases = nn.ParameterDict(
            {n: nn.Parameter(torch.empty(vocab_size)) for n in owners if config.output_bias}
        )
        self.embeddings = nn.ModuleDict({n: InputEmbedding(config, embedded) for n in stacks})
        self.projections = nn.ModuleDict(
            {n: Linear(width, config.dim) for n in stacks if width != config.dim or config.project_embeddings}
        )
        self.transforms = nn.ModuleDict(
            {n: HeadTransform(config, config.dim, width) for n in owners if config.head_transform}
        )
        self.relative = RelativeBias(config) if config.relative_buckets and config.encoder_layers else None
        self.pooler = Linear(config.dim, config.dim) if config.pooler else None
        outputs = languages if config.cross_output == "language" else ()
        self.encoder = Stack(config, config.encoder_layers, False, ()) if config.encoder_layers else None
        self.decoder = Stack(config, config.decoder_layers, both, outputs) if config.decoder_layers else None
        if (
            torch.get_default_device().type != "meta"
        ):  # where weights are to be filled in, drawing them is a waste of a second
            self.reset_parameters()

    # -- reading ---------------------------------------------------------------------------------------------------------------------

    def embed(self, tokens: Tokens, stack: str, offset: int = 0) -> Tensor:
        """Embeddings (B, L, E) for a stack; E is D unless the model has narrower ones."""
        x: Tensor = self.embeddings[stack](tokens, self.table(stack), offset, self.compute)
        return x

    def inputs(self, tokens: Tokens, stack: str, offset: int = 0) -> Tensor:
        """Input vectors (B, L, D) of a stack."""
        x = self.embed(tokens, stack, offset)
        if stack in self.projections:
            x = self.projections[stack](x)
        return x

    def read(self, tokens: Tokens) -> Tensor:
        """Hidden states (B, L, D) of whichever single text the model reads: its encoder, or its decoder when it has no encoder."""
        return self.encode(tokens).hidden if self.encoder is not None else self.decode(tokens, None)

    def encode(self, source: Tokens) -> Memory:
        """Read a source."""
        assert self.encoder is not None
        mask = self_attention_mask(source)
        if self.relative is not None:
            mask = self.relative.add_to(mask, source)
        return Memory(self.encoder(self.inputs(source, "encoder"), mask), cross_attention_mask(source))

    def pool(self, hidden: Tensor) -> Tensor:
        """One vector (B, D) of each text, from states (B, L, D): that of its first token, through BERT's pooler where there is one."""
        first = hidden[:, 0]
        return first if self.pooler is None else torch.tanh(self.pooler(first))

    def decode(self, target: Tokens, memory: Memory | None, cache: Cache | None = None) -> Tensor:
        """Hidden states (B, T, D) that predict the token after each of `target`.

        With a cache, `target` holds one new token for each row, and the memory is the cache's.
        """
        assert self.decoder is not None
        language = (
            int(target.language[0])
            if target.language is not None and self.config.cross_output == "language"
            else 0
        )
        if cache is None:
            hidden: Tensor = self.decoder(
                self.inputs(target, "decoder"), causal_mask(target), memory, language
            )
            return hidden
        x: Tensor = self.inputs(target, "decoder", cache.length)
        mask = cache.advance()
        for (mixing, feeding), kept in zip(self.decoder.depths, cache.layers, strict=True):
            x = feeding.ffn_block(mixing.step(x, mask, cache, kept, language))
        last: Tensor = x if self.decoder.norm is None else self.decoder.norm(x)
        return last

    def prefill(self, source: Tokens, width: int) -> Cache:
        """Encode S sources and open a cache for `width` rows of each."""
        assert self.decoder is not None
        memory = self.encode(source)
        rows, heads, device = source.ids.shape[0], self.config.heads, memory.hidden.device
        kept = (
            torch.float32 if device.type == "cpu" else self.compute
        )  # a CPU attends in fp32: cast once, not at every step
        room = torch.zeros(rows, heads, ROOM * width, self.config.dim // heads, dtype=kept, device=device)
        layers = []
        for layer, _ in self.decoder.depths:
            assert layer.cross_attention is not None
            keys, values = layer.cross_attention.memory(memory.hidden)
            cross = (
                keys.to(kept, memory_format=torch.contiguous_format),
                values.to(kept, memory_format=torch.contiguous_format),
            )
            layers.append(LayerCache(room.clone(), room.clone(), cross))
        return Cache(width, layers, memory.mask, torch.zeros(rows, width, 0, dtype=torch.bool, device=device))

    # -- predicting ------------------------------------------------------------------------------------------------------------------

    def logits(self, hidden: Tensor, stack: str | None = None) -> Tensor:
        """(..., D) -> (..., V) in the type of `hidden`."""
        hidden, weight, bias = self._output(hidden, stack)
        return F.linear(hidden, weight.to(hidden.dtype), bias.to(hidden.dtype) if bias is not None else None)

    def loss(
        self, hidden: Tensor, labels: Tensor, smoothing: float = 0.0, stack: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Summed cross-entropy (with smoothing) and negative log-likelihood, in nats, of states (N, D) against ids (N,)."""
        hidden, weight, bias = self._output(hidden, stack)
        return linear_cross_entropy(hidden, weight, bias, labels, smoothing)

    def _output(self, hidden: Tensor, stack: str | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """What is multiplied with which table, and the bias."""
        name = stack or ("decoder" if self.decoder is not None else "encoder")
        name = name if name in self.tables else "shared"
        if name in self.transforms:
            hidden = self.transforms[name](hidden)
        elif self.config.embedding_dim not in (0, self.config.dim):
            raise MasscliError(
                "the model's embeddings are narrower than its layers, and nothing leads back",
                "add --head-transform",
            )
        return hidden, self.tables[name], self.biases[name] if self.config.output_bias else None

    def table(self, stack: str) -> Tensor:
        """The token table (V, E) of a stack."""
        table: Tensor = self.tables[stack if stack in self.tables else "shared"]
        return table

    # -- beginning -------------------------------------------------------------------------------------------------------------------

    def reset_parameters(self) -> None:
        """Draw initial weights; spec/mass.md 2 for the three families.

        fairseq: xavier-uniform products, those of queries, keys and values with the bound of the fused (3D, D) matrix; zero biases;
        N(0, D^-1/2) embeddings.  xlm: PyTorch's products and biases, N(0, D^-1/2) embeddings.  bert: N(0, 0.02), zero biases.
        truncated: the same, cut off at two standard deviations (the released BERT and ALBERT).  electra: the same, but for the projection
        of the embeddings, which TensorFlow's default draws there, xavier-uniform.
        """
        kind, dim = self.config.init, self.config.dim
        spread = 0.02 if kind in ("bert", "truncated", "electra") else dim**-0.5
        draw = truncated_normal if kind in ("truncated", "electra") else nn.init.normal_
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                draw(module.weight, 0, spread)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, Linear):
                if kind == "xlm":
                    module.reset_parameters()
                    continue
                if kind == "fairseq":
                    nn.init.xavier_uniform_(module.weight)
                else:
                    draw(module.weight, 0, 0.02)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, CrossAttention) and kind == "fairseq":
                for weight in (module.q.weight, module.kv.weight):
                    nn.init.uniform_(weight, -((1.5 / dim) ** 0.5), (1.5 / dim) ** 0.5)
        for projection in self.projections.values() if kind == "electra" else ():
            assert isinstance(projection, Linear)
            nn.init.xavier_uniform_(projection.weight)
        for table in self.tables.values():
            draw(table, 0, spread)
        for bias in self.biases.values():
            nn.init.zeros_(bias)


def truncated_normal(weight: Tensor, mean: float, spread: float) -> Tensor:
    """Normal, drawn again beyond two standard deviations, as TensorFlow has it."""
    return nn.init.trunc_normal_(weight, mean, spread, mean - 2 * spread, mean + 2 * spread)


def _embedding(rows: int, dim: int) -> nn.Embedding:
    """A table that is yet to be filled; nn.Embedding alone would draw numbers for nothing."""
    return nn.Embedding(rows, dim, _weight=torch.empty(rows, dim))


def sinusoids(rows: int, dim: int) -> Tensor:
    """Position vectors (rows, dim): sines, then cosines, of wavelengths from 2 pi to 20,000 pi (tensor2tensor's layout).

    By numpy, and so real numbers even where a model is made without any (on the device `meta`, to be filled from a checkpoint).
    """
    half = dim // 2
    rates = np.exp(np.arange(half) * (-math.log(10_000) / max(1, half - 1)))
    angles = np.arange(rows)[:, None] * rates
    waves = np.concatenate([np.sin(angles), np.cos(angles), np.zeros((rows, dim - 2 * half))], 1)
    return torch.from_numpy(waves.astype(np.float32))


def count_parameters(model: nn.Module) -> int:
    """Numbers that are learned; a tied table counts once."""
    return sum(p.numel() for p in model.parameters())
