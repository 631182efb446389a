"""The configuration of a fairseq model: from its tensors, its options, and the defaults of fairseq."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from masscli.checkpoint.convert.config_json import describe_problem
from masscli.checkpoint.convert.fairseq_layout import Kind, Layout, architecture
from masscli.checkpoint.convert.fairseq_stack import FairseqStack
from masscli.checkpoint.convert.fairseq_vocabulary import PAD_ID, FairseqVocabulary
from masscli.checkpoint.convert.folder import read_flag
from masscli.checkpoint.convert.foreign import ImportRequest, TensorTable
from masscli.core.config import ConfigError
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.presets import resolve

PRESETS: dict[Kind, str] = {
    "transformer": "base",
    "transformer_lm": "base",
    "roberta": "roberta-base",
    "bart": "base",
    "mass_translation": "base",
    "mass_summarization": "mass-base-uncased",
}
"""The preset (presets.toml) of each kind of model, for settings that neither options nor tensors
determine."""
HEADS = {
    "transformer": 8,
    "transformer_iwslt_de_en": 4,
    "transformer_wmt_en_de": 8,
    "transformer_vaswani_wmt_en_de_big": 16,
    "transformer_wmt_en_de_big": 16,
    "transformer_wmt_en_de_big_t2t": 16,
    "transformer_mass_base": 12,
    "transformer_mass_middle": 16,
    "transformer_mass_big": 16,
    "xtransformer": 8,
    "transformer_lm": 8,
    "transformer_lm_big": 16,
    "roberta_base": 12,
    "roberta_large": 16,
    "bart_base": 12,
    "bart_large": 16,
    "mbart_base": 12,
    "mbart_base_wmt20": 12,
    "mbart_large": 16,
    "denoising_base": 12,
    "denoising_large": 16,
}
"""Number of attention heads of fairseq's architectures, for files whose options do not give it."""
ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_accurate": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "swish": "swish",
}
"""masscli's names of activations by fairseq's; others are not supported."""


def read_fairseq_config(
    request: ImportRequest,
    options: Mapping[str, Any],
    layout: Layout,
    stacks: Mapping[str, FairseqStack],
    vocabulary: FairseqVocabulary,
    table: TensorTable,
) -> ModelConfig:
    """Return the configuration of the model.

    Sizes, shared weights, final norms and learned positions come from the tensors in `stacks`, other
    settings from fairseq's `options`, and the rest from the preset of the kind of model. RoBERTa's
    output weights are removed from `table`. Raises MasscliError if a setting is unknown or not
    supported.
    """
    first = next(iter(stacks.values()))
    is_lm_head = bool(layout.head)
    # In files without options, BART does not scale its embeddings, but mBART does.
    is_mbart = architecture(request, options).startswith("mbart")
    is_unscaled = is_lm_head or (layout.kind == "bart" and not is_mbart)
    values: dict[str, Any] = {
        "arch": PRESETS[layout.kind],
        "encoder_layers": 0,
        "decoder_layers": 0,
        "languages": "none",
        "dim": first.dim,
        "norm_eps": 1e-5,
        "activation": _activation(request, options, layout.kind),
        "norm_embedding": first.has_embedding_norm,
        "scale_embedding": not read_flag(
            options, "no_scale_embedding", is_unscaled, request.path
        ),
        "output_bias": is_lm_head,
        "head_transform": is_lm_head,
        "segments": int(is_lm_head),
        "source_bos": layout.has_bos and "encoder" in stacks,
        "position_offset": _position_offset(layout, vocabulary),
        "dropout": options.get("dropout", 0.1),
        "attention_dropout": options.get("attention_dropout", 0.0),
        "activation_dropout": options.get(
            "activation_dropout", options.get("relu_dropout", 0.0)
        ),
    }
    values |= layout.tags.framing
    values |= _sharing(stacks, layout, table)
    values["final_norm"] = _final_norm(stacks)
    for name, stack in stacks.items():
        _check_same_width(request, first, stack)
        values[f"{name}_layers"] = stack.num_layers
        own = _stack_values(request, options, name, stack, values["position_offset"])
        if stack is first:
            values |= own
            continue
        # Decoder-only fields are set only where the decoder differs.
        for field, value in own.items():
            if value != values[field]:
                values[_decoder_field(field)] = value
    config = _resolve(request, next(iter(stacks)), values)
    # `auto` wherever it is equivalent, since exporters compare settings with those of other programs by
    # name.
    usual = replace(config, final_norm="auto")
    if all(
        usual.has_final_norm(name) == config.has_final_norm(name) for name in stacks
    ):
        return usual
    return config


def _activation(request: ImportRequest, options: Mapping[str, Any], kind: Kind) -> str:
    """Return masscli's name of the activation. Raises MasscliError if masscli does not have it."""
    # Older files lack options that were added later; the default is then the behavior at the time.
    has_gelu = kind in ("roberta", "bart", "mass_summarization")
    activation = str(options.get("activation_fn") or ("gelu" if has_gelu else "relu"))
    if activation not in ACTIVATIONS:
        raise MasscliError(
            f"{request.path}: activation_fn is {activation}",
            f"supported are {', '.join(ACTIVATIONS)}",
        )
    return ACTIVATIONS[activation]


def _check_same_width(
    request: ImportRequest, first: FairseqStack, second: FairseqStack
) -> None:
    """Raise MasscliError if two stacks differ in width, or if one of them normalizes its embeddings."""
    same_norms = first.has_embedding_norm == second.has_embedding_norm
    if first.dim != second.dim or not same_norms:
        raise MasscliError(
            f"{request.path}: encoder and decoder differ in width or in layernorm_embedding",
            "such models are not supported",
        )


def _resolve(
    request: ImportRequest, stack: str, values: Mapping[str, Any]
) -> ModelConfig:
    """Return the configuration with the given values by field; `stack` is the model's first stack.

    Raises MasscliError, which names fairseq's option, if a value is not possible.
    """
    try:
        return resolve(values)
    except ConfigError as error:
        keys = {
            "dim": f"{stack}_embed_dim",
            "heads": "--heads" if request.heads else f"{stack}_attention_heads",
            "decoder_heads": "decoder_attention_heads",
        }
        raise MasscliError(
            f"{request.path}: {describe_problem(error, keys)}",
            "its options and its weights do not match",
        ) from None


def _position_offset(layout: Layout, vocabulary: FairseqVocabulary) -> int:
    """Return the row of the first position in fairseq's table of positions: the row after padding's id."""
    if layout.kind == "mass_summarization":
        return vocabulary.tokenizer.vocab.pad + 1
    return PAD_ID + 1


def _final_norm(stacks: Mapping[str, FairseqStack]) -> str:
    """Return which stacks end with a layer norm: `encoder`, `decoder`, `both` or `none`."""
    names = [name for name, stack in stacks.items() if stack.has_final_norm]
    if len(names) == 2:
        return "both"
    if names:
        return names[0]
    return "none"


def _decoder_field(field: str) -> str:
    if field == "positions":
        return "decoder_position_type"
    return f"decoder_{field}"


def _stack_values(
    request: ImportRequest,
    options: Mapping[str, Any],
    name: str,
    stack: FairseqStack,
    offset: int,
) -> dict[str, Any]:
    """Return the fields of `ModelConfig` that may differ between stacks, for the stack `name`.

    They are ffn_dim, heads, norm, positions and max_positions. `offset` is the number of rows in a table of
    positions before the first position. Raises MasscliError if neither the request, the options nor the name
    of the architecture gives the number of attention heads.
    """
    heads = request.heads or options.get(f"{name}_attention_heads")
    heads = heads or HEADS.get(architecture(request, options))
    if not isinstance(heads, int):
        raise MasscliError(
            f"{request.path}: does not give its number of attention heads",
            f"give --heads, or --arch: {', '.join(HEADS)}",
        )
    is_pre_norm = stack.has_final_norm
    if stack.heeds_norm_option:
        option = f"{name}_normalize_before"
        is_pre_norm = read_flag(options, option, stack.has_final_norm, request.path)
    # For language models and RoBERTa, the option for the length of texts is tokens_per_sample.
    side = {"encoder": "source", "decoder": "target"}[name]
    max_positions = (
        options.get(f"max_{side}_positions") or options.get("tokens_per_sample") or 1024
    )
    positions = "sinusoidal"
    if stack.position_rows:
        positions, max_positions = "learned", stack.position_rows - offset
    elif read_flag(options, "no_token_positional_embeddings", False, request.path):
        positions = "none"
    return {
        "ffn_dim": stack.ffn_dim,
        "heads": heads,
        "norm": "pre" if is_pre_norm else "post",
        "positions": positions,
        "max_positions": max_positions,
    }


def _sharing(
    stacks: Mapping[str, FairseqStack], layout: Layout, table: TensorTable
) -> dict[str, Any]:
    """Return the fields `embeddings` and `tie_output` of `ModelConfig`, found by comparing the weights.

    RoBERTa's output weights are taken from `table` and set as `output` of its stack.
    """
    tables = [stack.embedding for stack in stacks.values()]
    last = list(stacks.values())[-1]
    if layout.head and f"{layout.head}weight" in table:
        last.output = table.take(f"{layout.head}weight")
    # Equal tables are equivalent to a shared one, whatever the options say.
    is_joined = len(tables) < 2 or _same(tables[0], tables[1])
    return {
        "embeddings": "tied" if is_joined else "separate",
        "tie_output": last.output is None or _same(last.output, last.embedding),
    }


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and bool((first == second).all())
