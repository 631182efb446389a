"""Every knob of a training run on one page.

A run is a `Recipe`: sections of plain values, the same in a TOML file, on the command line (`--max-tokens` is `train.max_tokens`; a
field's name is unique over all sections, so flags need no prefix) and in a checkpoint.  The knobs of the other commands are in
masscli/commands.py.  Flag names are fairseq's where fairseq has one.  Nothing heavy is imported here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from masscli.core.config import Flags, check, config


@config
class ModelConfig:
    """The one Transformer.  `arch` fills in what is not said; see masscli/models/presets.toml."""

    arch: Annotated[str, Flags("-a")] = "tiny"
    """Named sizes: tiny, small, base, big, mass-base, mass-base-uncased, mass-middle-uncased, mass-xlm, bert-base, bert-large,
    roberta-base, roberta-large, albert-base, albert-large, albert-xlarge, albert-xxlarge, electra-small, electra-base, electra-large, gpt,
    unilmv2-base."""
    encoder_layers: int = 4
    """Layers of the encoder; 0 leaves it out, also of the weights of --init-from where a task needs the decoder alone."""
    decoder_layers: int = 4
    """Layers of the decoder; 0 leaves it out, likewise."""
    dim: int = 128
    """Width of the residual stream."""
    ffn_dim: int = 256
    """Width of the feed-forward layer."""
    heads: int = 4
    """Attention heads."""
    norm: Literal["pre", "post"] = "pre"
    """Layer norm before each sublayer, with a last one on top (pre), or after each residual sum (post, as first published; at high
    learning rates it may collapse to unigram frequencies)."""
    norm_eps: float = 1e-5
    """Added to the variance in layer norms."""
    norm_embedding: bool = False
    """A layer norm on the sum of embeddings."""
    scale_embedding: bool = True
    """Multiply token embeddings by the square root of dim."""
    activation: Literal["relu", "gelu", "gelu_tanh"] = "relu"
    """Non-linearity of the feed-forward layer (gelu is the exact one, with erf; gelu_tanh the approximation of GPT and ALBERT)."""
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    """How positions are embedded."""
    max_positions: int = 1024
    """Longest sequence, in tokens; rows of the table when positions are learned (where there are more than --init-from has, its rows come
    again and again, as UniLM extends them)."""
    embeddings: Literal["tied", "separate"] = "tied"
    """One table for encoder, decoder and output (tied), or one for each stack, each tied to its own output."""
    output_bias: bool = False
    """A bias on each output token."""
    languages: Literal["auto", "embedding", "tag", "none"] = "auto"
    """How a model knows the language: a vector added to each token, a tag in place of the first token, or not at all (auto: embedding
    when the data has more than one)."""
    cross_output: Literal["shared", "language"] = "shared"
    """Output projection of cross-attention: one, or one per target language (XLM's variant of MASS)."""
    source_bos: bool = False
    """Begin the source with the start symbol, as XLM does; fairseq does not."""
    segments: int = 0
    """Segment embeddings (BERT: 2)."""
    embedding_dim: int = 0
    """Width of the embeddings, projected to that of the layers (ALBERT, small ELECTRA); 0 is that of the layers."""
    project_embeddings: bool = False
    """Project them even where both widths are the same (ALBERT)."""
    share_layers: Literal["none", "attention", "ffn", "all"] = "none"
    """What all layers of a stack have in common (ALBERT: all)."""
    head_transform: bool = False
    """Before the output table: a dense layer, the non-linearity and a layer norm (BERT)."""
    pooler: bool = False
    """A dense layer and tanh on the first state of a text, for its vector (BERT)."""
    relative_buckets: int = 0
    """Buckets of relative positions whose learned bias is added to the encoder's attention (T5, UniLMv2: 32); 0 has none."""
    relative_distance: int = 128
    """Distance from which on relative positions share a bucket."""
    init: Literal["fairseq", "bert", "truncated", "electra", "xlm"] = "fairseq"
    """Initial weights: xavier-uniform (fairseq) or PyTorch's own (xlm) with N(0, dim^-1/2) embeddings, or N(0, 0.02) throughout (bert;
    truncated: cut off at two standard deviations, as released; electra: the same, and xavier-uniform from narrow embeddings to layers)."""
    dropout: float = 0.1
    """Dropout on embeddings and on the output of each sublayer."""
    attention_dropout: float = 0.0
    """Dropout on attention weights."""
    activation_dropout: float = 0.0
    """Dropout after the non-linearity of the feed-forward layer."""

    def __post_init__(self) -> None:
        check(
            (self.encoder_layers >= 0, "encoder_layers", f"must not be negative, got {self.encoder_layers}"),
            (self.decoder_layers >= 0, "decoder_layers", f"must not be negative, got {self.decoder_layers}"),
            (
                self.encoder_layers + self.decoder_layers != 0,
                "encoder_layers",
                "a model needs at least one layer",
            ),
            (self.dim > 0, "dim", f"must be above 0, got {self.dim}"),
            (self.embedding_dim >= 0, "embedding_dim", f"must not be negative, got {self.embedding_dim}"),
            (
                self.relative_buckets == 0 or (self.relative_buckets >= 8 and self.relative_buckets % 4 == 0),
                "relative_buckets",
                f"must be 0 or a multiple of 4 from 8 on, got {self.relative_buckets}",
            ),
            (
                self.relative_distance > self.relative_buckets // 4,
                "relative_distance",
                f"must be above a quarter of relative_buckets, got {self.relative_distance}",
            ),
            (self.ffn_dim > 0, "ffn_dim", f"must be above 0, got {self.ffn_dim}"),
            (self.max_positions > 0, "max_positions", f"must be above 0, got {self.max_positions}"),
            (
                self.heads > 0 and self.dim % self.heads == 0,
                "heads",
                f"must divide dim ({self.dim}), got {self.heads}",
            ),
            (self.norm_eps > 0, "norm_eps", f"must be above 0, got {self.norm_eps}"),
            (self.segments >= 0, "segments", f"must not be negative, got {self.segments}"),
            *(
                (0 <= share < 1, name, f"must lie in [0, 1), got {share}")
                for name, share in (
                    ("dropout", self.dropout),
                    ("attention_dropout", self.attention_dropout),
                    ("activation_dropout", self.activation_dropout),
                )
            ),
        )

    @property
    def stacks(self) -> tuple[str, ...]:
        """Return the names of the stacks that the model has: encoder, decoder, or both."""
        layers = {"encoder": self.encoder_layers, "decoder": self.decoder_layers}
        return tuple(name for name, count in layers.items() if count)
