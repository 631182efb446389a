"""The options of the model: its sizes, its variants and its dropout.

Each field defines a flag and a TOML key with its type, default and help text. This module imports
nothing heavy, so that --help is fast.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from masscli.core.config import (
    Flags,
    at_most,
    below_one,
    check,
    config,
    not_negative,
    positive,
    to_dict,
)

_DECODER_FIELDS = {
    "ffn_dim": "decoder_ffn_dim",
    "heads": "decoder_heads",
    "max_positions": "decoder_max_positions",
    "norm": "decoder_norm",
    "positions": "decoder_position_type",
}
"""The options that a decoder may override, each with the name of the field that holds the decoder's own
value."""

MAX_WIDTH = 2**17
"""Maximum width of a model; few published models exceed a tenth of it."""
MAX_POSITIONS = 2**20
"""Maximum sequence length of a model, in tokens."""
MAX_LAYERS = 4096
"""Maximum number of layers of a stack."""


@config
class ModelConfig:
    """The Transformer: its sizes, variants and dropout.

    Every model of masscli is one Transformer, and its configuration is this class. `arch` names a size that
    sets the options that are not given; see masscli/models/presets.toml.
    """

    arch: Annotated[str, Flags("-a")] = "tiny"
    """Preset for the options below, whose listed defaults are those of tiny: tiny, small, base, big,
    mass-base, mass-base-uncased, mass-middle-uncased, mass-xlm, bert-base, bert-large, distilbert-base,
    roberta-base, roberta-large, xlm-roberta-base, xlm-roberta-large, camembert-base, albert-base,
    albert-large, albert-xlarge, albert-xxlarge, electra-small, electra-base, electra-large, gpt, gpt2,
    gpt2-medium, gpt2-large, gpt2-xl, unilmv2-base."""
    encoder_layers: int = 4
    """Number of encoder layers. 0 makes a model without an encoder. With --init-from, 0 drops the
    encoder of those weights if the task needs only the decoder."""
    decoder_layers: int = 4
    """Number of decoder layers. 0 makes a model without a decoder. With --init-from, 0 drops the
    decoder of those weights if the task needs only the encoder."""
    dim: int = 128
    """Width of the residual stream."""
    ffn_dim: int = 256
    """Width of the feed-forward layer."""
    heads: int = 4
    """Number of attention heads."""
    norm: Literal["pre", "post"] = "pre"
    """Position of the layer norms. pre: before each sublayer, and one at the top of the stack; post:
    after each residual sum, as first published; at high learning rates such a model may collapse to
    unigram frequencies."""
    norm_eps: float = 1e-5
    """Number added to the variance in layer norms."""
    final_norm: Literal["auto", "both", "encoder", "decoder", "none"] = "auto"
    """Which stacks end with a layer norm. auto: those with pre-norm layers."""
    norm_embedding: bool = False
    """Apply a layer norm to the sum of the token, position, language and segment embeddings."""
    scale_embedding: bool = True
    """Multiply token embeddings by the square root of their width."""
    activation: Literal["relu", "gelu", "gelu_tanh", "swish"] = "relu"
    """Non-linearity of the feed-forward layer. gelu is exact, with erf; gelu_tanh is the approximation
    that GPT and ALBERT use (elsewhere gelu_new); swish is also called silu."""
    positions: Literal["sinusoidal", "learned", "none"] = "sinusoidal"
    """How positions are embedded."""
    max_positions: int = 1024
    """Maximum sequence length in tokens, and the number of learned positions. If --init-from has fewer
    positions, its embeddings are repeated, as in UniLM."""
    position_offset: int = 0
    """Row of the position table for the first token. fairseq starts after the padding id, BART at row
    2; a learned table has this many additional rows."""
    sinusoids: Literal["tensor2tensor", "marian", "interleaved"] = "tensor2tensor"
    """Layout of sinusoidal positions. tensor2tensor (also fairseq): sines, then cosines, with
    frequencies 10000^(-i/(d/2-1)); marian: sines, then cosines, with frequencies 10000^(-2i/d);
    interleaved: the same frequencies, with alternating sines and cosines, as first published."""
    embeddings: Literal["tied", "separate"] = "tied"
    """tied: the same embeddings for encoder and decoder; separate: embeddings for each stack."""
    tie_output: bool = True
    """Use the token embeddings as output weights. Otherwise the output layer has its own weights."""
    output_bias: bool = False
    """Add a bias to the logit of each token."""
    languages: Literal["auto", "embedding", "tag", "none"] = "auto"
    """How the model is told the language: an embedding added to each token, a tag next to the text (see
    --source-tag and --target-tag), or not at all (auto: embedding if the data has more than one
    language, else none)."""
    cross_output: Literal["shared", "language"] = "shared"
    """Output projection of cross-attention: one, or one per target language (XLM's variant of MASS)."""
    source_bos: bool = False
    """Start the source with the start symbol, as XLM does; fairseq does not."""
    source_tag: Literal["first", "last", "target"] = "first"
    """With --languages tag, the tag of a source. first: the source language, in place of the start
    symbol; last: the source language, after the end symbol (mBART); target: the target language, in
    place of the start symbol (OPUS-MT)."""
    target_tag: Literal["start", "forced", "none"] = "start"
    """With --languages tag, the position of the target's tag. start: in place of the decoder's start
    symbol; forced: after it, as the first token of every output (mBART-50, M2M100); none: the decoder
    has no tag."""
    segments: int = 0
    """Number of segment embeddings (BERT has 2)."""
    embedding_dim: int = 0
    """Width of the embeddings, which are projected to the width of the layers (ALBERT, small ELECTRA).
    0 is the width of the layers."""
    project_embeddings: bool = False
    """Project the embeddings even if both widths are the same (ALBERT)."""
    share_layers: Literal["none", "attention", "ffn", "all"] = "none"
    """Which weights all layers of a stack share (ALBERT: all)."""
    head_transform: bool = False
    """Apply a dense layer, the non-linearity and a layer norm before the output weights (BERT)."""
    pooler: bool = False
    """Apply a dense layer and tanh to the first hidden state of a text, which then represents the text
    (BERT)."""
    relative_buckets: int = 0
    """Number of buckets of relative positions, whose learned bias is added to the attention of the encoder
    (T5 and UniLMv2 have 32). 0 means no relative positions."""
    relative_distance: int = 128
    """Distance in tokens beyond which all relative positions on one side share a bucket; below it,
    buckets become wider with the distance."""
    decoder_ffn_dim: int = 0
    """Width of the decoder's feed-forward layer. 0 is --ffn-dim."""
    decoder_heads: int = 0
    """Number of attention heads of the decoder. 0 is --heads."""
    decoder_norm: Literal["same", "pre", "post"] = "same"
    """Position of the decoder's layer norms. same is --norm."""
    decoder_position_type: Literal["same", "sinusoidal", "learned", "none"] = "same"
    """How the decoder embeds positions. same is --positions."""
    decoder_max_positions: int = 0
    """Maximum sequence length of the decoder, and the number of its learned positions. 0 is
    --max-positions."""
    init: Literal["fairseq", "bert", "truncated", "electra", "xlm"] = "fairseq"
    """Initial weights. fairseq: xavier-uniform, with N(0, dim^-1/2) embeddings; xlm: PyTorch's own, with N(0,
    dim^-1/2) embeddings; bert: N(0, 0.02) everywhere; truncated: the same, truncated at two standard
    deviations, as released; electra: as truncated, but xavier-uniform for the projection of narrow
    embeddings."""
    dropout: float = 0.1
    """Dropout on embeddings and on the output of each sublayer."""
    attention_dropout: float = 0.0
    """Dropout on attention weights."""
    activation_dropout: float = 0.0
    """Dropout after the non-linearity of the feed-forward layer."""

    def __post_init__(self) -> None:
        layers = self.encoder_layers + self.decoder_layers
        divides_dim = self.heads > 0 and self.dim % self.heads == 0
        # With 0 the decoder has as many heads as the encoder.
        decoder_divides_dim = (
            self.decoder_heads == 0 or self.dim % self.decoder_heads == 0
        )
        # Half of the buckets are for each direction, and half of those are exact (see relative_positions.py).
        valid_buckets = self.relative_buckets >= 8 and self.relative_buckets % 4 == 0
        check(
            *not_negative(
                self, "encoder_layers", "decoder_layers", "embedding_dim", "segments"
            ),
            *not_negative(
                self,
                "position_offset",
                "decoder_ffn_dim",
                "decoder_heads",
                "decoder_max_positions",
            ),
            *positive(self, "dim", "ffn_dim", "max_positions", "norm_eps"),
            *at_most(
                self,
                MAX_WIDTH,
                "dim",
                "ffn_dim",
                "embedding_dim",
                "segments",
                "relative_buckets",
                "decoder_ffn_dim",
            ),
            *at_most(
                self,
                MAX_POSITIONS,
                "max_positions",
                "position_offset",
                "decoder_max_positions",
            ),
            *at_most(self, MAX_LAYERS, "encoder_layers", "decoder_layers"),
            *below_one(self, "dropout", "attention_dropout", "activation_dropout"),
            (layers != 0, "encoder_layers", "a model needs at least one layer"),
            (divides_dim, "heads", f"must divide dim ({self.dim}), got {self.heads}"),
            (
                decoder_divides_dim,
                "decoder_heads",
                f"must divide dim ({self.dim}), got {self.decoder_heads}",
            ),
            (
                self.relative_buckets == 0 or valid_buckets,
                "relative_buckets",
                f"must be 0 or a multiple of 4 from 8 on, got {self.relative_buckets}",
            ),
            (
                # A quarter of the buckets are exact; the logarithm of the others needs a larger distance to
                # end at.
                self.relative_distance > self.relative_buckets // 4,
                "relative_distance",
                f"must be above a quarter of relative_buckets, got {self.relative_distance}",
            ),
        )

    @property
    def embedding_width(self) -> int:
        """Return the width of the token embeddings: `embedding_dim`, or `dim` where that is 0."""
        return self.embedding_dim or self.dim

    @property
    def projects_embeddings(self) -> bool:
        """Return whether a linear layer projects embeddings: if asked for, or if their width is not `dim`."""
        return self.project_embeddings or self.embedding_width != self.dim

    @property
    def has_relative_bias(self) -> bool:
        """Return whether the encoder has relative positions, as that of UniLMv2 has; a decoder has none."""
        return self.relative_buckets > 0 and self.encoder_layers > 0

    @property
    def embedding_owners(self) -> tuple[str, ...]:
        """Return the names of the token embeddings: those of the stacks if separate, else `shared`."""
        if self.embeddings == "separate":
            return self.stacks
        return ("shared",)

    @property
    def stacks(self) -> tuple[str, ...]:
        """Return the names of the stacks that have layers: `encoder`, `decoder`, or both in this order."""
        layers = {"encoder": self.encoder_layers, "decoder": self.decoder_layers}
        return tuple(name for name, count in layers.items() if count)

    def for_stack(self, stack: str) -> ModelConfig:
        """Return the configuration of one stack, `encoder` or `decoder`.

        For the decoder, values that are its own (such as `decoder_heads`, where it is not 0) replace those of
        the common fields (`heads`) in a copy. The configuration of the encoder is this one, unchanged.
        """
        if stack != "decoder":
            return self
        own: dict[str, Any] = {}
        values = to_dict(self)
        for field, decoder_field in _DECODER_FIELDS.items():
            value = values[decoder_field]
            if value not in (0, "same"):
                own[field] = value
        return replace(self, **own)

    @property
    def max_target_positions(self) -> int:
        """Return the length in tokens of the longest sequence that the decoder can read."""
        return self.decoder_max_positions or self.max_positions

    def positions_for(self, stacks: str) -> int:
        """Return the length in tokens of the longest sequence that all of the given stacks can read.

        `stacks` is `encoder`, `decoder` or `encoder-decoder`.
        """
        if stacks == "encoder":
            return self.max_positions
        if stacks == "decoder":
            return self.max_target_positions
        return min(self.max_positions, self.max_target_positions)

    def has_final_norm(self, stack: str) -> bool:
        """Return whether a stack, `encoder` or `decoder`, ends with a layer norm.

        With `final_norm` auto, it does if its layers are pre-norm.
        """
        if self.final_norm == "auto":
            return self.for_stack(stack).norm == "pre"
        return self.final_norm in ("both", stack)
