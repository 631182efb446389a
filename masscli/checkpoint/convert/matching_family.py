"""Find the Hugging Face family that a single stack belongs to, or say why a family does not fit.

Settings that config.json does not have (placement of norms, shared weights, ...) must be as in the family's
preset: a model in which they differ cannot be exported.
"""

from __future__ import annotations

from masscli.checkpoint.convert.families import (
    ALBERT,
    BERT,
    DISTILBERT,
    ELECTRA,
    FAMILIES,
    GPT,
    GPT2,
    ROBERTA,
    Family,
)
from masscli.core.config import to_dict
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.presets import presets, resolve
from masscli.training.setup.architecture import ARCHITECTURE_FIELDS

_FREE_FIELDS = (
    "pooler", "head_transform", "output_bias", "tie_output", "position_offset", "project_embeddings",
    "relative_distance", "sinusoids", "source_bos", "source_tag", "target_tag",
)  # fmt: skip
"""Fields of `ModelConfig` in which an exported model may differ from its family's preset: optional
parts, fields without effect in these models, and tokens around texts, which Hugging Face leaves to the
tokenizer."""
SIZE_FIELDS = (
    "dim",
    "ffn_dim",
    "heads",
    "embedding_dim",
    "encoder_layers",
    "decoder_layers",
)
"""Fields of `ModelConfig` by which presets of a family differ."""


def choose_family(model: ModelConfig) -> Family:
    """Return the family to export a model to.

    It is the family of the model's preset (`arch`) if the model has a counterpart in it, or else the
    family that the model is most similar to. If it has no counterpart in either, the preset's family is
    returned, if any, so that errors refer to what the user has named.
    """
    named = _family_of_preset(model.arch)
    similar = _similar_family(model, named)
    if named is not None and (
        not export_obstacle(named, model) or export_obstacle(similar, model)
    ):
        return named
    return similar


def _similar_family(model: ModelConfig, named: Family | None) -> Family:
    """Return the family that a model is most similar to; `named` is that of its preset, if any.

    The choice depends on its stacks, placement of norms, shared layers, width of embeddings and
    segments.
    """
    if not model.encoder_layers:
        return GPT2 if model.norm == "pre" else GPT
    # ALBERT is the only encoder family that shares layers.
    if model.share_layers != "none":
        return ALBERT
    if model.embedding_dim not in (0, model.dim) or named is ELECTRA:
        return ELECTRA
    if model.segments == 0 and export_obstacle(DISTILBERT, model) is None:
        return DISTILBERT
    return ROBERTA if model.segments == 1 else BERT


def _family_of_preset(arch: str) -> Family | None:
    """Return the family that the preset `arch` belongs to, or None if it is not that of a published model."""
    # `gpt` is a prefix of `gpt2`, so the longest match counts.
    matching = [
        family for family in FAMILIES.values() if arch.startswith(family.preset_prefix)
    ]
    if not matching:
        return None
    return max(matching, key=lambda family: len(family.preset_prefix))


def find_export_obstacle(model: ModelConfig) -> str | None:
    """Return the reason why a model cannot be exported although its preset is that of a published model.

    Return None if it can be exported, or if its preset does not belong to a Hugging Face family.
    """
    family = _family_of_preset(model.arch)
    if family is None:
        return None
    # Its pooler or head may make it similar to another family, to which it can then be exported.
    return export_obstacle(choose_family(model), model)


def export_obstacle(family: Family, model: ModelConfig) -> str | None:
    """Return the reason, as text, why a model has no counterpart in a family, or None if it has one."""
    try:
        check_counterpart(family, model)
    except MasscliError as error:
        return str(error.args[0])
    return None


def check_counterpart(family: Family, model: ModelConfig) -> None:
    """Raise MasscliError, which names the setting, if a model has no counterpart in a family."""
    _check_fields(family, model)
    _check_parts(family, model)


def _check_fields(family: Family, model: ModelConfig) -> None:
    """Raise MasscliError if the model differs from the family's preset in what config.json cannot express.

    Fields in `_FREE_FIELDS` are not compared.
    """
    values = to_dict(model)
    required = to_dict(resolve({"arch": family.arch})) | {
        "languages": "none",
        "embedding_dim": 0,
    }
    # Embeddings as wide as the layers are equivalent to no separate width.
    if model.embedding_dim == model.dim:
        values["embedding_dim"] = 0
    if family is GPT:
        required["ffn_dim"] = 4 * model.dim
    if family is GPT2:
        required["ffn_dim"] = model.ffn_dim
    for field in ARCHITECTURE_FIELDS:
        is_free = field in _FREE_FIELDS or field in family.config_keys
        if not is_free and values[field] != required[field]:
            raise _no_counterpart(
                family, field, values[field], f"has {required[field]}"
            )


def _check_parts(family: Family, model: ModelConfig) -> None:
    """Raise MasscliError if the family lacks an optional part of the model, or its activation.

    The parts are LM head, pooler, segments and projected embeddings. The error is also raised if the model
    lacks a part that all models of the family have.
    """
    # In these families an LM head has both parts, or is absent.
    if model.head_transform is not model.output_bias:
        raise _no_counterpart(
            family,
            "output_bias",
            model.output_bias,
            "has it with head_transform, or neither",
        )
    if model.head_transform and not family.lm_head:
        raise _no_counterpart(family, "head_transform", True, "has none")
    if model.head_transform and family.fixed_head_activation not in (
        None,
        model.activation,
    ):
        rule = f"has {family.fixed_head_activation} in its LM head"
        raise _no_counterpart(family, "activation", model.activation, rule)
    if model.pooler and not family.pooler:
        raise _no_counterpart(family, "pooler", True, "has none")
    known = list(dict.fromkeys(family.activations.values()))
    if model.activation not in known:
        raise _no_counterpart(
            family, "activation", model.activation, f"has {', '.join(known)}"
        )
    if "segments" in family.config_keys and not model.segments:
        raise _no_counterpart(family, "segments", 0, "has at least one")
    # Narrower embeddings are always projected, whatever the option says.
    if model.embedding_dim in (0, model.dim):
        _check_projection(family, model)


def _check_projection(family: Family, model: ModelConfig) -> None:
    """Raise MasscliError if the model projects embeddings that are as wide as its layers, except for ALBERT.

    ALBERT always projects embeddings with a matrix, so for it the error is raised if the model does not.
    """
    if family is ALBERT and not model.project_embeddings:
        rule = "projects embeddings even if they are as wide as the layers"
        raise _no_counterpart(family, "project_embeddings", False, rule)
    if family is not ALBERT and model.project_embeddings:
        rule = "projects embeddings only if they are narrower than the layers"
        raise _no_counterpart(family, "project_embeddings", True, rule)


def _no_counterpart(
    family: Family, field: str, value: object, theirs: str
) -> MasscliError:
    return MasscliError(
        f"{field} is {value}: Hugging Face's {family.title} {theirs}",
        f"models of --arch {family.arch}, of any size, can be exported",
    )


def closest_preset(family: Family, model: ModelConfig) -> str:
    """Return the name of the family's preset that has the model's numbers of layers, widths and heads.

    If there is none, return that of the family's usual preset.
    """
    sizes = to_dict(model)
    for name in presets():
        if _family_of_preset(name) is family:
            preset = to_dict(resolve({"arch": name}))
            if all(preset[field] == sizes[field] for field in SIZE_FIELDS):
                return name
    return family.arch
