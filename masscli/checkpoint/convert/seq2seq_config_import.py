"""Read and check the config.json of an encoder-decoder model of Hugging Face's library."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from masscli.checkpoint.convert.config_json import (
    describe_problem,
    refuse_other_models,
)
from masscli.checkpoint.convert.folder import read_flag
from masscli.checkpoint.convert.given_vocabulary import AFTER, BEFORE
from masscli.checkpoint.convert.seq2seq import (
    NORM_EPS,
    Seq2SeqFamily,
    position_names,
)
from masscli.checkpoint.convert.seq2seq_weights import (
    TokenTables,
    has_own_tables,
    wrong_shape,
)
from masscli.core.config import ConfigError
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.presets import resolve

_ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_python": "gelu",
    "swish": "swish",
    "silu": "swish",
}
"""Activations as named in `ModelConfig`, by their names in config.json."""

_SIZES = {
    "dim": "d_model",
    "encoder_layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "heads": "encoder_attention_heads",
    "decoder_heads": "decoder_attention_heads",
    "ffn_dim": "encoder_ffn_dim",
    "decoder_ffn_dim": "decoder_ffn_dim",
    "max_positions": "max_position_embeddings",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
}
"""Keys of config.json, by the fields of `ModelConfig` that they give."""

GENERAL_SIZES = {field: _SIZES[field] for field in ("dim", "encoder_layers", "heads")}
"""Those of `_SIZES` that config.json may give under a general name, such as num_hidden_layers."""
KNOWN_KEYS = (
    *_SIZES.values(),
    "activation_function",
    "decoder_vocab_size",
    "langs",
    "normalize_before",
    "normalize_embedding",
    "scale_embedding",
    "share_encoder_decoder_embeddings",
    "src_vocab_size",
    "tgt_vocab_size",
    # FSMT repeats settings of the decoder there.
    "decoder",
    BEFORE,
    AFTER,
)
"""Keys of config.json that an import reads."""
DEFAULT_POSITIONS = 1024
"""The default of `max_position_embeddings` in Hugging Face's library, for all families."""
MAX_POSITIONS = 1 << 20
"""The largest accepted number of positions, more than any model has. Sinusoids are computed for all of
them, so a damaged config.json could exhaust memory."""
MAX_WIDTH = 1 << 16
"""The largest accepted width (d_model), more than any model has. A damaged config.json could exhaust
memory."""


def check_config(family: Seq2SeqFamily, config: Mapping[str, Any], path: Path) -> None:
    """Raise MasscliError if config.json asks for a variant of the family that cannot be imported.

    Such variants place layer norms differently from the family, are decoders alone, or are models of
    another kind. `config` is the content of `path`.
    """
    refuse_other_models(family.title, config, path, is_causal=None)
    required = {
        "normalize_before": family.norm == "pre",
        "normalize_embedding": family.norm_embedding,
        "is_encoder_decoder": True,
    }
    for key, value in required.items():
        if config.get(key, value) != value:
            raise MasscliError(
                f"{path}: {key} is {config[key]}",
                f"only {family.title} whose {key} is {value} can be imported",
            )


def vocab_sizes(
    family: Seq2SeqFamily, config: Mapping[str, Any], tables: TokenTables, path: Path
) -> tuple[int, int]:
    """Return the numbers of ids of source and target that config.json (`config`) states.

    The target has the number of the source if both stacks share their embeddings, or if config.json
    gives none. Raises MasscliError if the number of the source is missing, or if a table of embeddings
    or the output layer has a different number of rows.
    """
    keys = ("vocab_size", "decoder_vocab_size")
    if family.own_tables:
        keys = ("src_vocab_size", "tgt_vocab_size")
    source = config.get(keys[0])
    target = source
    if has_own_tables(family, config):
        target = config.get(keys[1]) or source
    for key, size, table in zip(
        keys, (source, target), (tables.encoder, tables.decoder), strict=True
    ):
        if type(size) is not int:
            raise MasscliError(f"{path}: has no {key}", f"{family.title} needs it")
        if table.dim() != 2 or len(table) != size:
            raise wrong_shape(
                str(path),
                "the table of token embeddings",
                table,
                (size, config.get("d_model")),
            )
    if tables.output.shape != tables.decoder.shape:
        raise wrong_shape(
            str(path), family.output_weight, tables.output, tuple(tables.decoder.shape)
        )
    assert isinstance(source, int) and isinstance(target, int)
    return source, target


def find_max_positions(
    family: Seq2SeqFamily, weights: Mapping[str, Tensor]
) -> int | None:
    """Return the number of positions of a model whose config.json lacks it; None if it is unknown.

    It is inferred from tables of learned positions in `weights`. For computed positions it is
    `DEFAULT_POSITIONS`.
    """
    lengths = set()
    for name, tensor in weights.items():
        if name.endswith("embed_positions.weight") and tensor.dim() == 2:
            lengths.add(len(tensor))
    if family.sinusoids is not None or (
        family.computes_missing_positions and not lengths
    ):
        return DEFAULT_POSITIONS
    # It cannot be inferred from tables of different lengths.
    if len(lengths) != 1:
        return None
    return lengths.pop() - family.offset(0)


def check_sizes(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path
) -> None:
    """Raise MasscliError if config.json has impossible sizes, or not the weights' numbers of layers.

    Tensor names in `weights` must not contain those of wrappers. All sizes must be above 0, the number of
    positions at most `MAX_POSITIONS`, and the width at most `MAX_WIDTH`. This is checked before a model of
    these sizes exhausts memory. `config` is the content of `path`, with the number of positions filled in.
    """
    for stack in ("encoder", "decoder"):
        layers = config.get(f"{stack}_layers")
        pattern = re.compile(rf"(model\.)?{stack}\.layers\.\d+\.fc1\.weight")
        # Every layer has this tensor, in all families.
        num_layers = sum(pattern.fullmatch(name) is not None for name in weights)
        if layers != num_layers:
            raise MasscliError(
                f"{path}: {stack}_layers is {layers}, but the weights have {num_layers}",
                "weights and config.json belong to different models",
            )
    for key in _SIZES.values():
        # Rates of dropout are not whole numbers.
        if type(config.get(key)) is int and config[key] < 1 and "dropout" not in key:
            raise MasscliError(
                f"{path}: {key} is {config[key]}",
                "was it changed after it was published?",
            )
    positions = config.get("max_position_embeddings")
    if type(positions) is not int or not 0 < positions <= MAX_POSITIONS:
        raise MasscliError(
            f"{path}: max_position_embeddings is {positions}",
            f"expected 1 to {MAX_POSITIONS:,}",
        )
    width = config.get("d_model")
    if type(width) is not int or not 0 < width <= MAX_WIDTH:
        raise MasscliError(
            f"{path}: d_model is {width}", f"expected 1 to {MAX_WIDTH:,}"
        )


def read_model_config(
    family: Seq2SeqFamily,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    tables: TokenTables,
    framing: Mapping[str, Any],
    rows: Mapping[str, Sequence[int]],
    position_offset: int,
    path: Path,
) -> ModelConfig:
    """Return the configuration of the model, from the content of its config.json (`config`) and its tensors.

    `framing` are the fields of `ModelConfig` that its vocabulary determines. `rows` has, for `encoder`
    and `decoder`, masscli's id of each row of the embeddings. `position_offset` is the row of the first
    position. Raises MasscliError, which names the file `path`, if a setting is missing or wrong.
    """
    values: dict[str, Any] = {"arch": "base", "languages": "none", **framing}
    settings = {**family.config_defaults, **config}
    for field, key in _SIZES.items():
        if key not in settings:
            raise MasscliError(f"{path}: has no {key}", f"{family.title} needs it")
        values[field] = settings[key]
    for field in ("heads", "ffn_dim"):
        # Decoder-specific values are set only where they differ.
        if values[f"decoder_{field}"] == values[field]:
            values[f"decoder_{field}"] = 0
    activation = str(settings["activation_function"])
    if activation not in _ACTIVATIONS:
        raise MasscliError(
            f"{path}: activation_function is {activation}",
            f"expected one of {', '.join(_ACTIVATIONS)}",
        )
    # Two vocabularies can share one table only if they have the same ids.
    one_embedding = tables.one_embedding and rows["encoder"] == rows["decoder"]
    positions = "sinusoidal"
    if family.sinusoids is None or position_names("encoder")[1] in tensors:
        positions = "learned"
    values |= {
        "activation": _ACTIVATIONS[activation],
        "scale_embedding": read_flag(settings, "scale_embedding", False, path),
        "norm": family.norm,
        "norm_embedding": family.norm_embedding,
        "norm_eps": NORM_EPS,
        "positions": positions,
        "sinusoids": family.sinusoids or "tensor2tensor",
        "position_offset": position_offset,
        "embeddings": "tied" if one_embedding else "separate",
        "tie_output": tables.is_tied,
        "output_bias": "final_logits_bias" in tensors,
        "init": "bert",
    }
    try:
        return resolve(values)
    except (TypeError, ValueError, ConfigError) as error:
        raise MasscliError(
            f"{path}: {describe_problem(error, _SIZES)}",
            "was it changed after it was published?",
        ) from None
