"""The one Transformer (Vaswani et al. 2017): an encoder, a decoder, or both, and their output layer.

It reads ids and vectors, never text. It identifies languages by name, and by their index in
`languages`. Sizes are data (presets.toml); every variant that masscli reproduces is a choice of
`ModelConfig`, not a subclass.

Shapes: B rows, L source tokens, T target tokens, D model width, E embedding width (D unless the model has
narrower embeddings), V vocabulary size, H heads; while decoding also S sentences of W rows (beams) each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Tokens
from masscli.models.cache import STEPS_OF_GROWTH, Cache, LayerCache
from masscli.models.config import ModelConfig
from masscli.models.initial_weights import draw_embedding, draw_module_weights
from masscli.models.input_embedding import InputEmbedding
from masscli.models.linear import Linear
from masscli.models.lm_head import HeadTransform
from masscli.models.loss import linear_cross_entropy
from masscli.models.masks import causal_mask, cross_attention_mask, self_attention_mask
from masscli.models.relative_positions import RelativeBias
from masscli.models.stack import Memory, Stack
from masscli.text.vocabulary import IdRanges


class Transformer(nn.Module):
    """A Transformer with an encoder, a decoder, or both, token embeddings and an output layer.

    `vocab_size` is V, and `id_ranges` say which ids its parts know (default: all). `languages` are the names
    of the languages for which the model has vectors (and output projections of cross-attention); it is empty
    when the model does not tell languages apart. `compute_dtype` is the type of its products; weights stay
    fp32 unless the whole model is cast for inference.

    Modules that belong to one stack are kept by its name, "encoder" or "decoder". Token embeddings and what
    belongs to the output layer are kept by the name of their owner: a stack, or "shared" when embeddings are
    tied.
    """

    def __init__(
        self,
        config: ModelConfig,
        vocab_size: int,
        languages: tuple[str, ...],
        id_ranges: IdRanges | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.id_ranges = id_ranges or IdRanges.all_of(vocab_size)
        self.vocab_size = vocab_size
        self.languages = languages
        self.compute_dtype = torch.float32
        owners = config.embedding_owners
        width = config.embedding_width
        # With languages = tag the language is a token, and needs no embedding.
        language_vectors = len(languages) if config.languages == "embedding" else 0

        # Embeddings and output layers. The order of modules determines the order in which weights are
        # drawn.
        rows = {owner: len(self.id_ranges.embedded(owner)) for owner in owners}
        self.token_embeddings = _empty_parameters(rows, width)
        self.output_weights = nn.ParameterDict()
        if not config.tie_output:
            self.output_weights = _empty_parameters(rows, width)
        self.output_biases = nn.ParameterDict()
        if config.output_bias:
            self.output_biases = _empty_parameters(rows)
        self.embeddings = nn.ModuleDict()
        for stack in config.stacks:
            self.embeddings[stack] = InputEmbedding(
                config.for_stack(stack), language_vectors
            )
        projected = config.stacks if config.projects_embeddings else ()
        self.embedding_projections = nn.ModuleDict(
            {stack: Linear(width, config.dim) for stack in projected}
        )
        transformed = owners if config.head_transform else ()
        self.head_transforms = nn.ModuleDict(
            {owner: HeadTransform(config, config.dim, width) for owner in transformed}
        )
        self.relative = RelativeBias(config) if config.has_relative_bias else None
        self.pooler = Linear(config.dim, config.dim) if config.pooler else None
        output_languages = languages if config.cross_output == "language" else ()
        self.encoder = _build_stack(config, "encoder", False, ())
        # A decoder without an encoder has nothing to cross-attend to.
        self.decoder = _build_stack(
            config, "decoder", config.encoder_layers > 0, output_languages
        )

        # Both are set by `replace_layers`, in a model that only generates.
        self.output_layers = nn.ModuleDict()
        self.make_linear: Callable[[Tensor, Tensor | None], nn.Module | None] | None = (
            None
        )

        # On the device "meta", weights come from a checkpoint, and initializing them first would take a
        # second.
        if torch.get_default_device().type != "meta":
            self.reset_parameters()

    # -- reading ----------------------------------------------------------------------------------------

    def embed(self, tokens: Tokens, stack: str, offset: int = 0) -> Tensor:
        """Return the embeddings (B, L, E) of `tokens` for a stack, `encoder` or `decoder`.

        They are the sums of token, position, language and segment embeddings. Positions are
        `tokens.positions`, or else count up from `offset` in each row.
        """
        # If the first row of the table is not id 0, ids are relative to the first one.
        first_id = self.id_ranges.embedded(self._embedding_owner(stack)).start
        if first_id:
            tokens = replace(tokens, ids=tokens.ids - first_id)
        x: Tensor = self.embeddings[stack](
            tokens, self.token_embedding(stack), offset, self.compute_dtype
        )
        return x

    def inputs(self, tokens: Tokens, stack: str, offset: int = 0) -> Tensor:
        """Return the input (B, L, D) of the first layer of a stack, `encoder` or `decoder`.

        This is the embeddings of `tokens`, projected to the model width if the stack has a projection.
        Positions are `tokens.positions`, or else count up from `offset` in each row.
        """
        x = self.embed(tokens, stack, offset)
        if stack in self.embedding_projections:
            x = self.embedding_projections[stack](x)
        return x

    def read(self, tokens: Tokens) -> Tensor:
        """Return the hidden states (B, L, D) of texts, from the encoder or, if there is none, the decoder."""
        if self.encoder is None:
            return self.decode(tokens, None)
        return self.encode(tokens).hidden

    def encode(self, source: Tokens) -> Memory:
        """Return the encoder states (B, L, D) of source tokens, with the mask for cross-attention to them."""
        assert self.encoder is not None
        mask = self_attention_mask(source)
        if self.relative is not None:
            mask = self.relative.add_to(mask, source)
        return Memory(
            self.encoder(self.inputs(source, "encoder"), mask),
            cross_attention_mask(source),
        )

    def pool(self, hidden: Tensor) -> Tensor:
        """Return one vector (B, D) for each text from its hidden states (B, L, D).

        This is the first state, mapped by BERT's pooler (a dense layer and tanh) if the model has one.
        """
        first = hidden[:, 0]
        if self.pooler is None:
            return first
        return torch.tanh(self.pooler(first))

    def decode(
        self, target: Tokens, memory: Memory | None, cache: Cache | None = None
    ) -> Tensor:
        """Return the hidden states (B, T, D) that predict the token after each token of `target`.

        `memory` is the encoded source, or None for a decoder that is used as a language model. With a cache,
        `target` holds one new token of each row, which is added to the cache, and `memory` is not read, since
        the cache has the keys and values of the source. If each language has its own output projection, all
        rows must have the same target language.
        """
        assert self.decoder is not None
        language = self._output_language(target)
        if cache is None:
            x = self.inputs(target, "decoder")
            hidden: Tensor = self.decoder(x, causal_mask(target), memory, language)
            return hidden
        # One step: the position of the new token is the number of tokens in the cache.
        x = self.inputs(target, "decoder", cache.length)
        # The position must be read before the cache is advanced, which counts the new token.
        mask = cache.advance()
        # The rows of a sentence attend together.
        x = x.view(cache.sentences, cache.width, -1)
        for (attention_layer, ffn_layer), layer in zip(
            self.decoder.layer_halves, cache.layers, strict=True
        ):
            x = ffn_layer.ffn_block(
                attention_layer.attention_block_step(x, mask, cache, layer, language)
            )
        return self.decoder.apply_norm(x).flatten(0, 1)[:, None]

    def decode_with_weights(
        self, target: Tokens, memory: Memory, layer: int, heads: int
    ) -> tuple[Tensor, Tensor]:
        """Do as `decode` without a cache, and return its hidden states and log-weights of cross-attention.

        The latter are (B, heads, T, L), in fp32, of the first `heads` heads of decoder layer `layer`, counted
        from 0: how much each position of `target` attends to each source token.
        """
        assert self.decoder is not None
        x = self.inputs(target, "decoder")
        language = self._output_language(target)
        return self.decoder.forward_with_weights(
            x, causal_mask(target), memory, language, layer, heads
        )

    def _output_language(self, target: Tokens) -> int:
        """Return the index of the target language, by which cross-attention selects its output projection.

        It is 0 if there is one projection for all languages.
        """
        if target.language is None or self.config.cross_output != "language":
            return 0
        # A batch has one target language.
        return int(target.language[0])

    def cache_dtype(self, device: torch.device) -> torch.dtype:
        """Return the dtype of cached keys and values: fp32 on a CPU, else the compute dtype of the model."""
        # A CPU attends in fp32, so keys and values are cast once instead of at every step.
        return torch.float32 if device.type == "cpu" else self.compute_dtype

    def prefill(self, source: Tokens, width: int, room: int | None = None) -> Cache:
        """Encode S sources, and return a cache for decoding `width` rows (beams) of each.

        The cache has the cross-attention keys and values of the sources, and no decoded token yet. At first
        it has room for a number of steps of `room` rows (default: `width`).
        """
        if room is None:
            room = width
        assert self.decoder is not None
        memory = self.encode(source)
        rows = source.ids.shape[0]
        device = memory.hidden.device
        dtype = self.cache_dtype(device)
        heads = self.config.for_stack("decoder").heads
        shape = (rows, heads, STEPS_OF_GROWTH * room, self.config.dim // heads)
        layers = []
        for layer, _ in self.decoder.layer_halves:
            assert layer.cross_attention is not None
            keys, values = layer.cross_attention.memory(memory.hidden)
            # The keys are a strided view of the fused projection, and are read at every step, so one
            # copy is worthwhile.
            cross_keys = keys.to(dtype, memory_format=torch.contiguous_format)
            cross_values = values.to(dtype, memory_format=torch.contiguous_format)
            # No slot is read before it is written.
            empty_keys = torch.empty(shape, dtype=dtype, device=device)
            empty_values = torch.empty_like(empty_keys)
            layers.append(
                LayerCache(empty_keys, empty_values, (cross_keys, cross_values))
            )
        no_slots = torch.zeros(rows, width, 0, dtype=torch.bool, device=device)
        return Cache(width, layers, memory.mask, no_slots)

    # -- predicting -------------------------------------------------------------------------------------

    def logits(self, hidden: Tensor, stack: str | None = None) -> Tensor:
        """Map hidden states (..., D) to logits (..., V), in the dtype of `hidden`.

        `stack` names the stack that they come from (default: the decoder, if there is one), since each stack
        may have its own output layer. Ids that the stack does not predict get -inf.
        """
        hidden = self.output_input(hidden, stack)
        owner = self._output_owner(stack)
        if owner in self.output_layers:
            logits: Tensor = self.output_layers[owner](hidden)
        else:
            weight, bias = self.output_weight(owner)
            if bias is not None:
                bias = bias.to(hidden.dtype)
            logits = F.linear(hidden, weight.to(hidden.dtype), bias)
        predicted = self.id_ranges.predicted_by(owner)
        if len(predicted) == self.vocab_size:
            return logits
        # Ids that the model does not predict have probability 0.
        return F.pad(
            logits,
            (predicted.start, self.vocab_size - predicted.stop),
            value=-torch.inf,
        )

    def loss(
        self,
        hidden: Tensor,
        labels: Tensor,
        smoothing: float = 0.0,
        stack: str | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy with label smoothing and the negative log-likelihood, as sums in nats.

        `hidden` are states (N, D), and `labels` the ids (N,) that they are to predict. `stack` names the
        stack that the states come from (default: the decoder, if there is one). Both results are fp32
        scalars, and only the first one carries a gradient.
        """
        owner = self._output_owner(stack)
        weight, bias = self.output_weight(owner)
        first_id = self.id_ranges.predicted_by(owner).start
        if first_id:
            labels = labels - first_id
        return linear_cross_entropy(
            self.output_input(hidden, stack), weight, bias, labels, smoothing
        )

    def output_weight(self, owner: str) -> tuple[Tensor, Tensor | None]:
        """Return the weight (P, E) and the bias (P,), or None, of an output layer that predicts P ids.

        `owner` is the name under which it is kept: `encoder`, `decoder` or `shared`. An output layer that is
        tied has the token embeddings as its weight.
        """
        weight = self.token_embeddings[owner]
        if owner in self.output_weights:
            weight = self.output_weights[owner]
        bias: Tensor | None = self.output_biases.get(owner)
        embedded = self.id_ranges.embedded(owner)
        predicted = self.id_ranges.predicted_by(owner)
        if predicted == embedded:
            return weight, bias
        part = slice(predicted.start - embedded.start, predicted.stop - embedded.start)
        if bias is not None:
            bias = bias[part]
        return weight[part], bias

    def output_rows(self, ids: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return the output weights (U, E) and biases (U,), or None, of U ids, and which are predicted (U,).

        They are those of the decoder, if there is one. An id that is not predicted has the weights of another
        one.
        """
        owner = self._output_owner(None)
        predicted = self.id_ranges.predicted_by(owner)
        weight, bias = self.output_weight(owner)
        rows = (ids - predicted.start).clamp(0, len(predicted) - 1)
        is_predicted = (ids >= predicted.start) & (ids < predicted.stop)
        if bias is not None:
            bias = bias[rows]
        return weight[rows], bias, is_predicted

    def output_input(self, hidden: Tensor, stack: str | None = None) -> Tensor:
        """Return the vectors (..., E) that the output weights multiply, from hidden states (..., D).

        These are the states after the head transform of the stack (default: the decoder, if there is one), or
        the states themselves if it has none. Raises MasscliError in that case if D and E differ.
        """
        owner = self._output_owner(stack)
        if owner in self.head_transforms:
            transformed: Tensor = self.head_transforms[owner](hidden)
            return transformed
        # Without a transformation, hidden states are compared with the embeddings as they are.
        if self.config.embedding_width != self.config.dim:
            raise MasscliError(
                "the model's embeddings are narrower than its layers, and no layer maps back to their width",
                "add --head-transform",
            )
        return hidden

    def _output_owner(self, stack: str | None) -> str:
        """Return the name under which the output weights of a stack are kept: its own name, or `shared`.

        If `stack` is None, the stack is the decoder, or the encoder in a model without a decoder.
        """
        if stack is None:
            # A model with a decoder predicts with it. (The config may name a stack that was taken out.)
            stack = "encoder" if self.decoder is None else "decoder"
        return self._embedding_owner(stack)

    def token_embedding(self, stack: str) -> Tensor:
        """Return the token embeddings of a stack: (V, E), or fewer rows where it does not know all ids."""
        weight: Tensor = self.token_embeddings[self._embedding_owner(stack)]
        return weight

    def _embedding_owner(self, stack: str) -> str:
        """Return the name under which a stack's token embeddings are kept: its own, or `shared` if tied."""
        return stack if stack in self.token_embeddings else "shared"

    # -- initial weights --------------------------------------------------------------------------------

    def reset_parameters(self) -> None:
        """Draw new random weights for the whole model, in place, by the method of `ModelConfig.init`."""
        kind = self.config.init
        # Special cases are drawn after the general rule, which they overwrite.
        draw_module_weights(self, kind, self.config.dim)
        if kind == "electra":
            for projection in self.embedding_projections.values():
                assert isinstance(projection, Linear)
                nn.init.xavier_uniform_(projection.weight)
        for embedding in (
            *self.token_embeddings.values(),
            *self.output_weights.values(),
        ):
            draw_embedding(embedding, kind, self.config.dim)
        for bias in self.output_biases.values():
            nn.init.zeros_(bias)


def _empty_parameters(rows: Mapping[str, int], *shape: int) -> nn.ParameterDict:
    """Return a parameter of shape (rows[name], *shape) for each name, not initialized, to be filled later."""
    return nn.ParameterDict(
        {name: nn.Parameter(torch.empty(count, *shape)) for name, count in rows.items()}
    )


def _build_stack(
    config: ModelConfig, name: str, cross: bool, languages: tuple[str, ...]
) -> Stack | None:
    """Return the stack called `name` (`encoder` or `decoder`), or None if it has no layers in `config`.

    `cross` says whether its layers have cross-attention, and `languages` names the target languages with
    output projections of their own there.
    """
    if name not in config.stacks:
        return None
    num_layers = config.encoder_layers if name == "encoder" else config.decoder_layers
    return Stack(
        config.for_stack(name),
        num_layers,
        cross,
        languages,
        config.has_final_norm(name),
    )


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters of a model; tied embeddings count once."""
    return sum(p.numel() for p in model.parameters())
