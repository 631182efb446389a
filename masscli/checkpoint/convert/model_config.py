"""Convert config.json to a `ModelConfig`, and back.

Settings that config.json does not have (where the norms are, what is shared, ...) must be as in the family's
preset: a model that differs there cannot be exported. A config.json cannot be imported if it asks for a
variant that masscli's Transformer does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from masscli.checkpoint.convert.families import ALBERT, BERT, ELECTRA, GPT, ROBERTA, Family
from masscli.core.config import ConfigError, to_dict
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.presets import presets, resolve
from masscli.text.vocabulary import Vocabulary
from masscli.training.setup.architecture import ARCHITECTURE_FIELDS

OLD_NORM_EPS = 1e-12
"""The epsilon of the layer norms if config.json is older than the setting."""
MAX_UNUSED_POSITIONS = 16
"""The most rows of position embeddings that may be unused where positions begin after the id of padding."""
_FREE_FIELDS = ("pooler", "head_transform", "output_bias", "relative_distance", "project_embeddings")
"""Fields that need not be as in the preset: optional parts, and one without effect in these models."""
_SIZE_FIELDS = ("dim", "ffn_dim", "heads", "embedding_dim", "encoder_layers", "decoder_layers")


def read_config(family: Family, raw: Mapping[str, Any], pooler: bool, path: str) -> ModelConfig:
    """Return the model that a config.json describes.

    Whether it has a pooler is seen in the weights. `path` is named in errors. Raises MasscliError if a
    setting is missing, wrong, or cannot be imported.
    """
    # Other values would need a model that this Transformer is not.
    for key, required in family.required_config.items():
        if raw.get(key, required) != required:
            raise MasscliError(
                f"{path}: {key} is {raw[key]}",
                f"only {family.title} whose {key} is {required} can be imported",
            )
    values: dict[str, Any] = {"arch": family.arch, "languages": "none", "pooler": pooler}
    for field, key in family.config_keys.items():
        if key not in raw and field != "norm_eps":
            raise MasscliError(f"{path}: has no {key}", f"{family.title} needs it")
        values[field] = raw.get(key, OLD_NORM_EPS)
    model = _resolve(family, raw, values, path)
    return replace(model, arch=_closest_preset(family, model))


def _resolve(family: Family, raw: Mapping[str, Any], values: dict[str, Any], path: str) -> ModelConfig:
    """Return the model with the values of a config.json by field, adapted to what they mean here."""
    # Values from the file may be of any type until `resolve` has checked them.
    try:
        if values["activation"] not in family.activations:
            raise MasscliError(
                f"{path}: {family.config_keys['activation']} is {values['activation']}",
                f"{family.title} can be imported with {', '.join(family.activations)}",
            )
        values["activation"] = family.activations[values["activation"]]
        # Their table of positions includes the unused rows.
        values["max_positions"] -= position_offset(family, raw)
        # GPT's config.json has no width of the feed-forward layers.
        if family is GPT:
            values["ffn_dim"] = 4 * values["dim"]
        # ALBERT projects its embeddings even if they are as wide as the layers.
        if family is not ALBERT and values.get("embedding_dim") == values["dim"]:
            values["embedding_dim"] = 0
        return resolve(values)
    except (TypeError, ValueError, ConfigError) as error:
        raise MasscliError(f"{path}: {error}".replace("model.", ""), "is it as it was published?") from None


def position_offset(family: Family, raw: Mapping[str, Any]) -> int:
    """Return the number of rows of position embeddings before the first position."""
    if not family.positions_after_padding:
        return 0
    return int(raw.get("pad_token_id") or 0) + 1


def write_config(family: Family, model: ModelConfig, vocab: Vocabulary) -> dict[str, Any]:
    """Return the config.json of a model.

    Raises MasscliError, which names the setting, if the model has no counterpart in the family.
    """
    _check_fields(family, model)
    _check_parts(family, model)
    if family.positions_after_padding and vocab.pad >= MAX_UNUSED_POSITIONS:
        raise MasscliError(
            f"padding has the id {vocab.pad}, and positions of {family.title} begin after it",
            "try --family bert",
        )
    values = to_dict(model)
    # Several names may stand for an activation: the first is the usual one.
    for name, activation in family.activations.items():
        if activation == model.activation:
            values["activation"] = name
            break
    values["embedding_dim"] = model.embedding_dim or model.dim
    config: dict[str, Any] = {
        "model_type": family.model_type,
        "tie_word_embeddings": True,
        "initializer_range": 0.02,
    }
    for field, key in family.config_keys.items():
        config[key] = values[field]
    config |= family.required_config
    config |= {
        "vocab_size": vocab.size,
        "pad_token_id": vocab.pad,
        "bos_token_id": vocab.bos,
        "eos_token_id": vocab.eos,
    }
    config[family.config_keys["max_positions"]] += position_offset(family, config)
    if family is GPT:
        config["embd_pdrop"] = model.dropout
    return config


def choose_family(model: ModelConfig) -> Family:
    """Return the family that a model is most similar to."""
    if not model.encoder_layers:
        return GPT
    # Of the families of encoders, ALBERT alone shares layers.
    if model.share_layers != "none":
        return ALBERT
    if model.embedding_dim not in (0, model.dim) or model.arch.startswith(ELECTRA.preset_prefix):
        return ELECTRA
    return ROBERTA if model.segments == 1 else BERT


def _check_fields(family: Family, model: ModelConfig) -> None:
    """Raise MasscliError if a field that config.json does not say differs from the family's preset."""
    values = to_dict(model)
    required = to_dict(resolve({"arch": family.arch})) | {"languages": "none", "embedding_dim": 0}
    # Embeddings as wide as the layers are the same as no width of their own.
    if model.embedding_dim == model.dim:
        values["embedding_dim"] = 0
    if family is GPT:
        required["ffn_dim"] = 4 * model.dim
    for field in ARCHITECTURE_FIELDS:
        is_free = field in _FREE_FIELDS or field in family.config_keys
        if not is_free and values[field] != required[field]:
            raise _no_counterpart(family, field, values[field], f"has {required[field]}")


def _check_parts(family: Family, model: ModelConfig) -> None:
    """Raise MasscliError if the model has a part that the family lacks, or lacks one that it always has."""
    # Their LM heads have both or are absent.
    if model.head_transform is not model.output_bias:
        raise _no_counterpart(
            family, "output_bias", model.output_bias, "has it with head_transform, or neither"
        )
    if model.head_transform and not family.lm_head:
        raise _no_counterpart(family, "head_transform", True, "has none")
    if model.pooler and not family.pooler:
        raise _no_counterpart(family, "pooler", True, "has none")
    known = list(dict.fromkeys(family.activations.values()))
    if model.activation not in known:
        raise _no_counterpart(family, "activation", model.activation, f"has {', '.join(known)}")
    if "segments" in family.config_keys and not model.segments:
        raise _no_counterpart(family, "segments", 0, "has at least one")
    # Narrower embeddings are always projected, whatever the option says.
    if model.embedding_dim in (0, model.dim):
        _check_projection(family, model)


def _check_projection(family: Family, model: ModelConfig) -> None:
    """Raise MasscliError if embeddings as wide as the layers are not projected as the family does it."""
    if family is ALBERT and not model.project_embeddings:
        rule = "projects embeddings even if they are as wide as the layers"
        raise _no_counterpart(family, "project_embeddings", False, rule)
    if family is not ALBERT and model.project_embeddings:
        rule = "projects embeddings only if they are narrower than the layers"
        raise _no_counterpart(family, "project_embeddings", True, rule)


def _no_counterpart(family: Family, field: str, value: object, theirs: str) -> MasscliError:
    return MasscliError(
        f"{field} is {value}: Hugging Face's {family.title} {theirs}",
        f"models of --arch {family.arch}, of any size, can be exported",
    )


def _closest_preset(family: Family, model: ModelConfig) -> str:
    """Return the family's preset of the same depth and width, or else its first."""
    for name in presets():
        if name.startswith(family.preset_prefix):
            preset = resolve({"arch": name})
            if all(getattr(preset, field) == getattr(model, field) for field in _SIZE_FIELDS):
                return name
    return family.arch
