"""Encoder-decoder families of Hugging Face's library: the names of their tensors and settings.

All of them descend from fairseq's Transformer and name their tensors alike, so one table covers all.
They differ in the placement of layer norms, in positions, and in the parts that they omit; a
`Seq2SeqFamily` describes the differences. The tables are written as in
masscli/checkpoint/convert/families.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from masscli.checkpoint.convert.families import expand_names
from masscli.models.config import ModelConfig

NORM_EPS = 1e-5
"""The epsilon of all layer norms, which config.json does not set."""


@dataclass(frozen=True, slots=True)
class Seq2SeqFamily:
    """A family of encoder-decoder models in Hugging Face's library: its names and common properties."""

    model_type: str
    """The `model_type` of its config.json."""
    title: str
    """The name of the family in messages."""
    full_class: str
    """The name of its class with the output layer."""
    norm: Literal["pre", "post"]
    """Whether layer norms come before or after the sublayers."""
    norm_embedding: bool
    """Whether a layer norm follows the sum of the embeddings."""
    output_bias: bool
    """Whether the models can have an output bias (final_logits_bias)."""
    sinusoids: str | None
    """Layout of the sinusoidal positions, which are not stored; None if positions are learned."""
    position_offset: int | None
    """Row of the first token in the table of positions; None means the row after the id of padding."""
    decoder_start: Literal["eos", "pad"] = "eos"
    """The special token that a decoder reads first if no file specifies it."""
    config_defaults: Mapping[str, Any] = field(default_factory=lambda: _DEFAULTS)
    """Hugging Face's defaults for settings that config.json may lack, by its keys. Sizes have no
    defaults: a file without them is incomplete."""
    computes_missing_positions: bool = False
    """Whether tables of learned positions, which are initialized with sinusoids, may be missing in a
    file (Pegasus)."""
    loads_positions: bool = False
    """Whether the library takes a table of positions from a file that has one, although it computes
    sinusoids otherwise (Marian, FSMT)."""
    own_tables: bool = False
    """Whether encoder, decoder and output layer always have separate tables, and source and target
    separate vocabularies (FSMT)."""

    def offset(self, pad: int) -> int:
        """Return the row of the first token in the table of positions, where `pad` is the id of padding."""
        if self.position_offset is None:
            return pad + 1
        return self.position_offset

    def tensor_names(self, config: ModelConfig) -> dict[str, tuple[str, ...]]:
        """Return the names of masscli's tensors, each with those of the Hugging Face tensors it consists of.

        Several Hugging Face tensors are concatenated along the first dimension. Output biases and
        sinusoidal positions are left out.
        """
        layers = {"encoder": config.encoder_layers, "decoder": config.decoder_layers}
        names: dict[str, tuple[str, ...]] = {}
        for stack, count in layers.items():
            for ours, theirs in _layer_table(stack).items():
                names |= _expand(ours, theirs, count)
            if self.sinusoids is None:
                ours, theirs = position_names(stack)
                names[ours] = (theirs,)
            if self.norm == "pre":
                names |= _expand(f"{stack}.norm.*", f"model.{stack}.layer_norm.*", 1)
            if self.norm_embedding:
                names |= _expand(
                    f"embeddings.{stack}.norm.*",
                    f"model.{stack}.layernorm_embedding.*",
                    1,
                )
        names |= _embedding_names(config, self.output_weight)
        return names

    @property
    def output_weight(self) -> str:
        """Hugging Face's name of the output weights."""
        # Only FSMT keeps fairseq's name.
        if self.own_tables:
            return "model.decoder.output_projection.weight"
        return "lm_head.weight"


_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "activation_function": "gelu",
        "dropout": 0.1,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "scale_embedding": False,
        "tie_word_embeddings": True,
    }
)

PEGASUS = Seq2SeqFamily(
    model_type="pegasus",
    title="Pegasus",
    full_class="PegasusForConditionalGeneration",
    norm="pre",
    norm_embedding=False,
    output_bias=True,
    sinusoids=None,
    position_offset=0,
    decoder_start="pad",
    computes_missing_positions=True,
)
BART = Seq2SeqFamily(
    model_type="bart",
    title="BART",
    full_class="BartForConditionalGeneration",
    norm="post",
    norm_embedding=True,
    output_bias=True,
    sinusoids=None,
    position_offset=2,
)
MBART = replace(
    BART,
    model_type="mbart",
    title="mBART",
    full_class="MBartForConditionalGeneration",
    norm="pre",
)
M2M100 = Seq2SeqFamily(
    model_type="m2m_100",
    title="M2M100",
    full_class="M2M100ForConditionalGeneration",
    norm="pre",
    norm_embedding=False,
    output_bias=False,
    sinusoids="tensor2tensor",
    position_offset=None,
    config_defaults={
        **_DEFAULTS,
        "activation_function": "relu",
        "attention_dropout": 0.1,
        "scale_embedding": True,
    },
)
MARIAN = Seq2SeqFamily(
    model_type="marian",
    title="Marian",
    full_class="MarianMTModel",
    norm="post",
    norm_embedding=False,
    output_bias=True,
    sinusoids="marian",
    position_offset=0,
    decoder_start="pad",
    loads_positions=True,
)
FSMT = Seq2SeqFamily(
    model_type="fsmt",
    title="FSMT",
    full_class="FSMTForConditionalGeneration",
    norm="post",
    norm_embedding=False,
    output_bias=False,
    sinusoids="tensor2tensor",
    position_offset=None,
    config_defaults={
        **_DEFAULTS,
        "activation_function": "relu",
        "scale_embedding": True,
        "tie_word_embeddings": False,
    },
    loads_positions=True,
    own_tables=True,
)

# Of two equivalent families, the first is chosen, since it says more about where the model is from.
SEQ2SEQ_FAMILIES: Mapping[str, Seq2SeqFamily] = MappingProxyType(
    {
        family.model_type: family
        for family in (MARIAN, FSMT, M2M100, PEGASUS, BART, MBART)
    }
)


def position_names(stack: str) -> tuple[str, str]:
    """Return masscli's name of a stack's table of learned positions, and Hugging Face's."""
    return (
        f"embeddings.{stack}.positions.weight",
        f"model.{stack}.embed_positions.weight",
    )


def _layer_table(stack: str) -> dict[str, str]:
    """Return patterns of the names of the tensors of a layer: masscli's, each with Hugging Face's.

    `#` stands for the number of the layer and `*` for weight or bias. A space separates the names of
    Hugging Face tensors that are concatenated into one of masscli's.
    """
    ours = f"{stack}.layers.#"
    theirs = f"model.{stack}.layers.#"
    table = {
        f"{ours}.self_attention.qkv.*": (
            f"{theirs}.self_attn.q_proj.* {theirs}.self_attn.k_proj.* {theirs}.self_attn.v_proj.*"
        ),
        f"{ours}.self_attention.out.*": f"{theirs}.self_attn.out_proj.*",
        f"{ours}.self_norm.*": f"{theirs}.self_attn_layer_norm.*",
        f"{ours}.fc1.*": f"{theirs}.fc1.*",
        f"{ours}.fc2.*": f"{theirs}.fc2.*",
        f"{ours}.ffn_norm.*": f"{theirs}.final_layer_norm.*",
    }
    if stack == "decoder":
        table |= {
            f"{ours}.cross_attention.q.*": f"{theirs}.encoder_attn.q_proj.*",
            f"{ours}.cross_attention.kv.*": f"{theirs}.encoder_attn.k_proj.* {theirs}.encoder_attn.v_proj.*",
            f"{ours}.cross_attention.out.shared.*": f"{theirs}.encoder_attn.out_proj.*",
            f"{ours}.cross_norm.*": f"{theirs}.encoder_attn_layer_norm.*",
        }
    return table


def _embedding_names(
    config: ModelConfig, output_weight: str
) -> dict[str, tuple[str, ...]]:
    """Return masscli's names of the token embeddings and output weights, each with Hugging Face's name.

    The output weights are called `output_weight`. Embeddings that are tied to each other and to the
    output layer have a single entry.
    """
    # Tied embeddings are stored once.
    if config.embeddings == "tied" and config.tie_output:
        return {"token_embeddings.shared": ("model.shared.weight",)}
    names: dict[str, tuple[str, ...]] = {}
    for owner in config.embedding_owners:
        if owner == "shared":
            names[f"token_embeddings.{owner}"] = ("model.shared.weight",)
        else:
            names[f"token_embeddings.{owner}"] = (f"model.{owner}.embed_tokens.weight",)
    if not config.tie_output:
        names[f"output_weights.{config.embedding_owners[-1]}"] = (output_weight,)
    return names


def _expand(ours: str, theirs: str, layers: int) -> dict[str, tuple[str, ...]]:
    """Return the names that a pair of patterns stands for: masscli's, each with a tuple of Hugging Face's.

    `#` is replaced by each number of a layer, `*` by weight and bias; spaces separate the names in `theirs`.
    """
    return {
        name: tuple(parts.split()) for name, parts in expand_names(ours, theirs, layers)
    }
