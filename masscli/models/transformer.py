"""The one Transformer (Vaswani et al. 2017): an encoder, a decoder, or both, and the output layer that belongs to it.

It sees ids and vectors, never text; it knows languages by name and by index into `languages`.  Shapes: B rows, L source and T target
tokens, D model width, V vocabulary, H heads.  Sizes are data (presets.toml); every variant that the sources of masscli publish is a
choice of `ModelConfig`, not a subclass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.data.batch import Tokens
from masscli.models.attention import CrossAttention, SelfAttention
from masscli.models.cache import ROOM, Cache, LayerCache
from masscli.models.cross_entropy import linear_cross_entropy
from masscli.models.dropout import dropout
from masscli.models.linear import LayerNorm, Linear
from masscli.recipe import ModelConfig

HIDDEN = -1e30  # added to a score that must vanish; finite, so that a row of them is not NaN


@dataclass(frozen=True, slots=True)
class Memory:
    """What an encoder leaves to a decoder: states (B, L, D) and the additive mask (B, 1, 1, L) of what may be attended to."""

    hidden: Tensor
    mask: Tensor | None


class InputEmbedding(nn.Module):
    """Adds positions, languages and segments to token vectors; the token table is handed in, since stacks may share it."""

    def __init__(self, config: ModelConfig, languages: int) -> None:
        super().__init__()
        dim = config.dim
        self.scale = math.sqrt(dim) if config.scale_embedding else 1.0
        self.dropout = config.dropout
        self.rows = config.max_positions, dim
        self.positions = nn.Embedding(config.max_positions, dim) if config.positions == "learned" else None
        self.reset_buffers()
        self.languages = nn.Embedding(languages, dim) if languages else None
        self.segments = nn.Embedding(config.segments, dim) if config.segments else None
        self.norm = LayerNorm(dim, config.norm_eps) if config.norm_embedding else None

    def reset_buffers(self) -> None:
        """Compute what is not learned and not saved."""
        if self.positions is None:
            self.register_buffer("wave", sinusoids(*self.rows), persistent=False)

    def forward(self, tokens: Tokens, table: Tensor, offset: int, dtype: torch.dtype) -> Tensor:
        """Vectors (B, L, D) in `dtype` of tokens whose first one, unless they say otherwise, has position `offset`."""
        x = F.embedding(tokens.ids, table)
        if self.scale != 1.0:
            x = x * self.scale
        positions = self.positions.weight if self.positions is not None else self.get_buffer("wave")
        if tokens.positions is not None:
            x = x + F.embedding(tokens.positions, positions)
        else:
            x = x + positions[offset : offset + tokens.ids.shape[1]]
        if self.languages is not None and tokens.language is not None:
            x = x + self.languages(tokens.language)[:, None]
        if self.segments is not None and tokens.segments is not None:
            x = x + self.segments(tokens.segments)
        x = x.to(dtype)
        if self.norm is not None:
            x = self.norm(x)
        return dropout(x, self.dropout, self.training)


class Layer(nn.Module):
    """Self-attention, cross-attention where there is a memory, feed-forward; each with a residual sum and a layer norm."""

    def __init__(self, config: ModelConfig, cross: bool, languages: tuple[str, ...]) -> None:
        super().__init__()
        dim, eps = config.dim, config.norm_eps
        self.pre = config.norm == "pre"
        self.dropout, self.activation_dropout = config.dropout, config.activation_dropout
        self.gelu = config.activation == "gelu"
        self.self_attention = SelfAttention(dim, config.heads, config.attention_dropout)
        self.self_norm = LayerNorm(dim, eps)
        self.cross_attention = CrossAttention(dim, config.heads, config.attention_dropout, languages) if cross else None
        self.cross_norm = LayerNorm(dim, eps) if cross else None
        self.inner = Linear(dim, config.ffn_dim)
        self.outer = Linear(config.ffn_dim, dim)
        self.ffn_norm = LayerNorm(dim, eps)

    def forward(self, x: Tensor, mask: Tensor | None, memory: Memory | None, language: int) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        x = self._add(x, self.self_attention(self._before(x, self.self_norm), mask), self.self_norm)
        if self.cross_attention is not None and self.cross_norm is not None and memory is not None:
            y = self.cross_attention(self._before(x, self.cross_norm), memory.hidden, memory.mask, language)
            x = self._add(x, y, self.cross_norm)
        return self._add(x, self._feed_forward(self._before(x, self.ffn_norm)), self.ffn_norm)

    def step(self, x: Tensor, mask: Tensor | None, cache: Cache, layer: LayerCache, language: int) -> Tensor:
        """One token for each row of the cache: x (S*W, 1, D) -> (S*W, 1, D)."""
        at = (cache.length - 1) * cache.width
        x = self._add(x, self.self_attention.step(self._before(x, self.self_norm), mask, layer, at, cache.width), self.self_norm)
        if self.cross_attention is not None and self.cross_norm is not None and layer.cross is not None:
            rows = self._before(x, self.cross_norm).view(cache.sentences, cache.width, -1)
            y = self.cross_attention.step(rows, layer.cross, cache.cross_mask, language).view_as(x)
            x = self._add(x, y, self.cross_norm)
        return self._add(x, self._feed_forward(self._before(x, self.ffn_norm)), self.ffn_norm)

    def _feed_forward(self, x: Tensor) -> Tensor:
        inner = self.inner(x)
        inner = F.gelu(inner) if self.gelu else F.relu(inner)
        out: Tensor = self.outer(dropout(inner, self.activation_dropout, self.training))
        return out

    def _before(self, x: Tensor, norm: LayerNorm) -> Tensor:
        return norm(x) if self.pre else x

    def _add(self, x: Tensor, y: Tensor, norm: LayerNorm) -> Tensor:
        x = x + dropout(y, self.dropout, self.training)
        return x if self.pre else norm(x)


class Stack(nn.Module):
    """Layers in a row, with a last norm when they are pre-norm."""

    def __init__(self, config: ModelConfig, layers: int, cross: bool, languages: tuple[str, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config, cross, languages) for _ in range(layers))
        self.norm = LayerNorm(config.dim, config.norm_eps) if config.norm == "pre" else None

    def forward(self, x: Tensor, mask: Tensor | None, memory: Memory | None = None, language: int = 0) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        for layer in self.layers:
            x = layer(x, mask, memory, language)
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
        stacks = [n for n, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)) if layers]
        owners = stacks if config.embeddings == "separate" else ["shared"]
        self.tables = nn.ParameterDict({n: nn.Parameter(torch.empty(vocab_size, config.dim)) for n in owners})
        self.biases = nn.ParameterDict({n: nn.Parameter(torch.empty(vocab_size)) for n in owners if config.output_bias})
        self.embeddings = nn.ModuleDict({n: InputEmbedding(config, embedded) for n in stacks})
        outputs = languages if config.cross_output == "language" else ()
        self.encoder = Stack(config, config.encoder_layers, False, ()) if config.encoder_layers else None
        self.decoder = Stack(config, config.decoder_layers, both, outputs) if config.decoder_layers else None
        self.reset_parameters()

    # -- reading ---------------------------------------------------------------------------------------------------------------------

    def embed(self, tokens: Tokens, stack: str, offset: int = 0) -> Tensor:
        """Input vectors (B, L, D) of a stack."""
        x: Tensor = self.embeddings[stack](tokens, self._table(stack), offset, self.compute)
        return x

    def read(self, tokens: Tokens) -> Tensor:
        """Hidden states (B, L, D) of whichever single text the model reads: its encoder, or its decoder when it has no encoder."""
        return self.encode(tokens).hidden if self.encoder is not None else self.decode(tokens, None)

    def encode(self, source: Tokens) -> Memory:
        """Read a source."""
        assert self.encoder is not None
        hidden = self.encoder(self.embed(source, "encoder"), inside(source))
        return Memory(hidden, outside(source))

    def decode(self, target: Tokens, memory: Memory | None, cache: Cache | None = None) -> Tensor:
        """Hidden states (B, T, D) that predict the token after each of `target`.

        With a cache, `target` holds one new token for each row, and the memory is the cache's.
        """
        assert self.decoder is not None
        language = int(target.language[0]) if target.language is not None and self.config.cross_output == "language" else 0
        if cache is None:
            hidden: Tensor = self.decoder(self.embed(target, "decoder"), causal(target), memory, language)
            return hidden
        x: Tensor = self.embed(target, "decoder", cache.length)
        mask = cache.advance()
        for layer, kept in zip(self.decoder.layers, cache.layers, strict=True):
            assert isinstance(layer, Layer)
            x = layer.step(x, mask, cache, kept, language)
        last: Tensor = x if self.decoder.norm is None else self.decoder.norm(x)
        return last

    def prefill(self, source: Tokens, width: int) -> Cache:
        """Encode S sources and open a cache for `width` rows of each."""
        assert self.decoder is not None
        memory = self.encode(source)
        rows, heads, device = source.ids.shape[0], self.config.heads, memory.hidden.device
        kept = torch.float32 if device.type == "cpu" else self.compute  # a CPU attends in fp32: cast once, not at every step
        room = torch.zeros(rows, heads, ROOM * width, self.config.dim // heads, dtype=kept, device=device)
        layers = []
        for layer in self.decoder.layers:
            assert isinstance(layer, Layer) and layer.cross_attention is not None
            keys, values = layer.cross_attention.memory(memory.hidden)
            cross = keys.to(kept, memory_format=torch.contiguous_format), values.to(kept, memory_format=torch.contiguous_format)
            layers.append(LayerCache(room.clone(), room.clone(), cross))
        return Cache(width, layers, memory.mask, torch.zeros(rows, width, 0, dtype=torch.bool, device=device))

    # -- predicting ------------------------------------------------------------------------------------------------------------------

    def logits(self, hidden: Tensor, stack: str | None = None) -> Tensor:
        """(..., D) -> (..., V) in the type of `hidden`."""
        weight, bias = self._output(stack)
        return F.linear(hidden, weight.to(hidden.dtype), bias.to(hidden.dtype) if bias is not None else None)

    def loss(self, hidden: Tensor, labels: Tensor, smoothing: float = 0.0, stack: str | None = None) -> tuple[Tensor, Tensor]:
        """Summed cross-entropy (with smoothing) and negative log-likelihood, in nats, of states (N, D) against ids (N,)."""
        weight, bias = self._output(stack)
        return linear_cross_entropy(hidden, weight, bias, labels, smoothing)

    def _output(self, stack: str | None) -> tuple[Tensor, Tensor | None]:
        name = stack or ("decoder" if self.decoder is not None else "encoder")
        name = name if name in self.tables else "shared"
        return self.tables[name], self.biases[name] if self.config.output_bias else None

    def _table(self, stack: str) -> Tensor:
        table: Tensor = self.tables[stack if stack in self.tables else "shared"]
        return table

    # -- beginning -------------------------------------------------------------------------------------------------------------------

    def reset_parameters(self) -> None:
        """Draw initial weights; spec/mass.md 2 for the three families.

        fairseq: xavier-uniform products, those of queries, keys and values with the bound of the fused (3D, D) matrix; zero biases;
        N(0, D^-1/2) embeddings.  xlm: PyTorch's products and biases, N(0, D^-1/2) embeddings.  bert: N(0, 0.02), zero biases.
        """
        kind, dim = self.config.init, self.config.dim
        spread = 0.02 if kind == "bert" else dim**-0.5
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, 0, spread)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, Linear):
                if kind == "xlm":
                    module.reset_parameters()
                    continue
                if kind == "bert":
                    nn.init.normal_(module.weight, 0, 0.02)
                else:
                    nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, CrossAttention) and kind == "fairseq":
                for weight in (module.q.weight, module.kv.weight):
                    nn.init.uniform_(weight, -((1.5 / dim) ** 0.5), (1.5 / dim) ** 0.5)
        for table in self.tables.values():
            nn.init.normal_(table, 0, spread)
        for bias in self.biases.values():
            nn.init.zeros_(bias)


def inside(tokens: Tokens) -> Tensor | None:
    """Additive mask (B, 1, 1 or L, L) of what a bidirectional stack may attend to within its own text."""
    visible = _real(tokens)
    if tokens.sees is not None:
        visible = tokens.sees if visible is None else visible & tokens.sees
    mask = None if visible is None else _additive(visible)[:, None, None]
    if tokens.documents is not None:
        same = _additive(tokens.documents[:, :, None] == tokens.documents[:, None])[:, None]
        mask = same if mask is None else mask + same
    return mask


def outside(tokens: Tokens) -> Tensor | None:
    """Additive mask (B, 1, 1, L) of what another stack may attend to."""
    visible = _real(tokens)
    if tokens.keys is not None:
        visible = tokens.keys if visible is None else visible & tokens.keys
    return None if visible is None else _additive(visible)[:, None, None]


def causal(tokens: Tokens) -> Tensor:
    """Additive mask (1 or B, 1, T, T): each token sees itself and those before it (of its own document).

    Padding needs no mask of its own: it stands behind the last real token, where no real one looks.
    """
    length = tokens.ids.shape[1]
    mask = _additive(torch.ones(length, length, dtype=torch.bool, device=tokens.ids.device).tril())[None, None]
    if tokens.documents is not None:
        mask = mask + _additive(tokens.documents[:, :, None] == tokens.documents[:, None])[:, None]
    return mask


def _real(tokens: Tokens) -> Tensor | None:
    """(B, L) bool, or None when no row is padded."""
    length = tokens.ids.shape[1]
    if bool((tokens.lengths == length).all()):
        return None
    return torch.arange(length, device=tokens.ids.device) < tokens.lengths[:, None]


def _additive(visible: Tensor) -> Tensor:
    return torch.zeros(visible.shape, device=visible.device).masked_fill_(~visible, HIDDEN)


def sinusoids(rows: int, dim: int) -> Tensor:
    """Position vectors (rows, dim): sines, then cosines, of wavelengths from 2 pi to 20,000 pi (tensor2tensor's layout)."""
    half = dim // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float64) * (-math.log(10_000) / max(1, half - 1)))
    angles = torch.arange(rows, dtype=torch.float64)[:, None] * rates
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    return F.pad(waves, (0, dim - 2 * half)).float()


def count_parameters(model: nn.Module) -> int:
    """Numbers that are learned; a tied table counts once."""
    return sum(p.numel() for p in model.parameters())
