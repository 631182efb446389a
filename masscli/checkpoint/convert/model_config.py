"""Convert config.json of Hugging Face's library to a `ModelConfig`, and back.

A config.json cannot be imported if it asks for a variant that masscli's Transformer does not support.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.config_json import describe_problem
from masscli.checkpoint.convert.families import (
    ALBERT,
    GPT,
    GPT2,
    Family,
)
from masscli.checkpoint.convert.folder import read_flag
from masscli.checkpoint.convert.matching_family import (
    SIZE_FIELDS,
    check_counterpart,
    closest_preset,
)
from masscli.core.config import ConfigError, to_dict
from masscli.core.errors import MasscliError
from masscli.models.config import MAX_LAYERS, ModelConfig
from masscli.models.presets import resolve
from masscli.text.vocabulary import Vocabulary

MAX_UNUSED_POSITIONS = 16
"""The largest number of unused rows at the beginning of a table of positions. There are such rows in
families, such as RoBERTa, whose first position is the row after the id of padding."""
_DEFAULT_PAD = 1
"""The id of padding if RoBERTa's config.json has no pad_token_id."""


@dataclass(frozen=True)
class Contents:
    """Facts about a model's published weights that its config.json does not state."""

    pooler: bool
    """Whether they have a pooler."""
    lm_head: bool
    """Whether they have an LM head (a transform or an output bias), apart from its output weights."""
    own_output: bool
    """Whether output weights are stored; their values may be those of the token embeddings."""
    numbers: int
    """Total number of elements of all tensors."""
    layers: int | None
    """The number of layers that have tensors; None in a family whose only layer is repeated (ALBERT)."""


def read_config(
    family: Family, raw: Mapping[str, Any], contents: Contents, path: str
) -> ModelConfig:
    """Return the configuration of the model that a config.json, given as its content `raw`, describes.

    `contents` says which parts the weights have, and errors name `path`. Raises MasscliError if a setting is
    missing, wrong, or cannot be imported.
    """
    # Other values would need a model that masscli's Transformer does not support.
    for key, required in family.required_config.items():
        if raw.get(key, required) != required:
            raise MasscliError(
                f"{path}: {key} is {raw[key]}",
                f"only {family.title} whose {key} is {required} can be imported",
            )
    # Its layers have different numbers of heads; in most files the key is present but empty.
    if raw.get("pruned_heads"):
        raise MasscliError(
            f"{path}: pruned_heads is {raw['pruned_heads']}",
            "only models with as many heads in each layer can be imported",
        )
    values: dict[str, Any] = {
        "arch": family.arch,
        "languages": "none",
        "pooler": contents.pooler,
    }
    for field, key in family.config_keys.items():
        default = family.config_defaults.get(field)
        if key not in raw and default is None:
            raise MasscliError(f"{path}: has no {key}", f"{family.title} needs it")
        values[field] = raw.get(key, default)
        if isinstance(values[field], float) and not math.isfinite(values[field]):
            raise MasscliError(
                f"{path}: {key} is {values[field]}",
                "was it changed after it was published?",
            )
    _check_sizes(family, values, contents, path)
    # A model without an output layer has no weights to tie.
    is_tied = read_flag(raw, "tie_word_embeddings", True, Path(path))
    values["tie_output"] = is_tied or not (contents.lm_head or contents.own_output)
    model = _resolve(family, raw, values, path)
    has_head = _has_head(family, model, contents, path)
    return replace(
        model,
        arch=closest_preset(family, model),
        head_transform=has_head and bool(family.lm_head),
        output_bias=has_head and bool(family.lm_head),
    )


def _check_sizes(
    family: Family, values: Mapping[str, Any], contents: Contents, path: str
) -> None:
    """Raise MasscliError if a size in `values` is impossible, before a model of this size uses up memory.

    `values` are fields of `ModelConfig` as config.json gives them. A width, or the number of layers,
    positions or segments, must be above 0. It must not exceed the total number of weights or, for layers,
    `MAX_LAYERS`; the number of layers must be that of the weights.
    """
    for field, key in family.config_keys.items():
        size = values[field]
        # A size that is not a whole number is reported later.
        if field not in (*SIZE_FIELDS, "max_positions", "segments"):
            continue
        if type(size) is not int:
            continue
        if size < 1 or (field.endswith("_layers") and size > MAX_LAYERS):
            raise MasscliError(
                f"{path}: {key} is {size}", "was it changed after it was published?"
            )
        if field.endswith("_layers") and contents.layers not in (None, size):
            raise MasscliError(
                f"{path}: {key} is {size}, but the weights have {contents.layers}",
                "weights and config.json belong to different models",
            )
        if size > contents.numbers:
            raise MasscliError(
                f"{path}: {key} is {size}, but the weights have {contents.numbers:,} numbers in all",
                "weights and config.json belong to different models",
            )


def _has_head(
    family: Family, model: ModelConfig, contents: Contents, path: str
) -> bool:
    """Return whether the imported model gets an LM head: that of the weights, or a new one as in the preset.

    In some families the head always has the same activation. masscli has one activation for head and
    layers, so if the layers have a different one, the model gets no head; raises MasscliError if the
    weights have one.
    """
    fixed = family.fixed_head_activation
    if fixed is None or model.activation == fixed:
        # A model that was saved without its LM head gets a new one; ELECTRA's discriminator has none.
        return contents.lm_head or model.head_transform
    if contents.lm_head:
        raise MasscliError(
            f"{path}: {family.config_keys['activation']} is {model.activation}, and the LM head of "
            f"{family.title} has {fixed}",
            "here both are the same; without its head, as saved from a bare class, it can be imported",
        )
    return False


def _resolve(
    family: Family, raw: Mapping[str, Any], values: dict[str, Any], path: str
) -> ModelConfig:
    """Return the model configuration from `values`, the settings of a config.json by field of `ModelConfig`.

    `values` are first converted in place to the conventions of masscli's fields: activations get
    masscli's names, and unused rows are not counted as positions. `raw` is the whole content of
    config.json. Raises MasscliError, which names `path`, if a value is wrong.
    """
    # Values from the file may be of any type until `resolve` has checked them.
    try:
        activation = str(values["activation"])
        if activation not in family.activations:
            raise MasscliError(
                f"{path}: {family.config_keys['activation']} is {activation}",
                f"{family.title} can be imported with {', '.join(family.activations)}",
            )
        values["activation"] = family.activations[activation]
        # Their table of positions includes the unused rows.
        values["position_offset"] = _read_position_offset(family, raw, path)
        values["max_positions"] -= values["position_offset"]
        if "ffn_dim" not in values:
            values["ffn_dim"] = _read_ffn_dim(family, raw, values["dim"])
        # ALBERT projects its embeddings even if they are as wide as the layers.
        if family is not ALBERT and values.get("embedding_dim") == values["dim"]:
            values["embedding_dim"] = 0
        return resolve(values)
    except (TypeError, ValueError, ConfigError) as error:
        raise MasscliError(
            f"{path}: {describe_problem(error, family.config_keys)}",
            "was it changed after it was published?",
        ) from None


def _read_ffn_dim(family: Family, raw: Mapping[str, Any], dim: int) -> Any:
    """Return the inner width of the feed-forward layers of GPT and GPT-2.

    It is GPT-2's n_inner, whose type is not checked here, or else four times the model's width `dim`.
    """
    if family is GPT2 and raw.get("n_inner") is not None:
        return raw["n_inner"]
    return 4 * dim


def _read_position_offset(family: Family, raw: Mapping[str, Any], path: str) -> int:
    """Return the number of unused rows in the table of positions before the first position.

    It is one more than pad_token_id in `raw`, the content of config.json, if the family's positions begin
    after the id of padding, else 0. Raises MasscliError if that id is not a number below
    `MAX_UNUSED_POSITIONS`.
    """
    if not family.positions_after_padding:
        return 0
    pad = raw.get("pad_token_id", _DEFAULT_PAD)
    if type(pad) is not int or not 0 <= pad < MAX_UNUSED_POSITIONS:
        raise MasscliError(
            f"{path}: pad_token_id is {pad}, and positions of {family.title} begin after it",
            f"expected an id from 0 to {MAX_UNUSED_POSITIONS - 1}",
        )
    return pad + 1


def check_padding(
    family: Family, model: ModelConfig, vocab: Vocabulary, path: str
) -> None:
    """Raise MasscliError if the padding id in config.json (`path`) does not belong to a special piece.

    Only families whose positions begin after this id are checked: they skip padding when they count
    positions, and would skip an ordinary piece with this id too. `model` was read from config.json.
    """
    pad = model.position_offset - 1
    if family.positions_after_padding and pad not in vocab.special_ids:
        raise MasscliError(
            f"{path}: pad_token_id is {pad}, which is an ordinary piece of the vocabulary",
            f"its padding has the id {vocab.pad}",
        )


def position_offset(family: Family, model: ModelConfig, vocab: Vocabulary) -> int:
    """Return the number of unused rows before the first position in an exported table of positions.

    It is 0 unless the family's positions begin after the id of padding. In such a family it is the
    model's own number of unused rows or, if it has none, one more than the vocabulary's id of padding.
    """
    if not family.positions_after_padding:
        return 0
    # An imported table stays as it is.
    return model.position_offset or vocab.pad + 1


def write_config(
    family: Family, model: ModelConfig, vocab: Vocabulary, size: int
) -> dict[str, Any]:
    """Return the content of config.json for a model that is exported with `size` rows of token embeddings.

    Raises MasscliError, which names the setting, if the model has no counterpart in the family.
    """
    check_counterpart(family, model)
    offset = position_offset(family, model, vocab)
    if offset > MAX_UNUSED_POSITIONS:
        raise MasscliError(
            f"the padding id {vocab.pad} is too large: positions of {family.title} begin after it",
            "try --family bert",
        )
    values = to_dict(model) | {"embedding_dim": model.embedding_dim or model.dim}
    # An activation may have several names, of which the first is the usual one.
    names = [
        name
        for name, activation in family.activations.items()
        if activation == model.activation
    ]
    values["activation"] = names[0]
    config: dict[str, Any] = {
        "model_type": family.model_type,
        "tie_word_embeddings": model.tie_output,
        "initializer_range": 0.02,
    }
    for field, key in family.config_keys.items():
        config[key] = values[field]
    config |= family.required_config
    config["vocab_size"] = size
    # masscli's ids beyond the published ones are left out.
    for role in ("pad", "bos", "eos"):
        token_id = vocab.role_ids[role]
        config[f"{role}_token_id"] = token_id if token_id < size else None
    config[family.config_keys["max_positions"]] += offset
    if family.positions_after_padding:
        config["pad_token_id"] = offset - 1
    if family in (GPT, GPT2):
        config["embd_pdrop"] = model.dropout
    if family is GPT2 and model.ffn_dim != 4 * model.dim:
        config["n_inner"] = model.ffn_dim
    return config
