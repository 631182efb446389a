"""From config.json to a `ModelConfig` and back.

What config.json does not say (where the norms stand, what is shared, ...) must be as in the family's named size: a model that differs there
has no counterpart, and neither has one whose config.json asks for what this Transformer is not.
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

OLD_EPS = 1e-12
"""The layer norms' of a config.json from before it was written down."""
MOST_UNUSED = 16
"""Rows of positions that may lie idle before the first, where they begin behind the id of padding."""
_APART = ("pooler", "head_transform", "output_bias", "relative_distance", "project_embeddings")
"""Fields of a shape that no named size decides: parts that may be there or not, and one that means nothing here."""


def read_shape(family: Family, raw: Mapping[str, Any], pooler: bool, path: str) -> ModelConfig:
    """The shape that a config.json describes; whether it pools is seen in the weights.  `path` is named in complaints."""
    for key, wanted in family.demands.items():
        if raw.get(key, wanted) != wanted:
            raise MasscliError(
                f"{path}: {key} is {raw[key]}", f"only {family.title} whose {key} is {wanted} can be imported"
            )
    said: dict[str, Any] = {"arch": family.arch, "languages": "none", "pooler": pooler}
    for field, key in family.keys.items():
        if key not in raw and field != "norm_eps":
            raise MasscliError(f"{path}: has no {key}", f"{family.title} needs it")
        said[field] = raw.get(key, OLD_EPS)
    try:
        if said["activation"] not in family.activations:
            raise MasscliError(f"{path}: {family.keys['activation']} is {said['activation']}",
                               f"known for {family.title}: {', '.join(family.activations)}")  # fmt: skip
        said["activation"] = family.activations[said["activation"]]
        said["max_positions"] -= lead(family, raw)
        if family is GPT:
            said["ffn_dim"] = 4 * said["dim"]
        if said.get("embedding_dim") == said["dim"] and family is not ALBERT:  # which projects all the same
            said["embedding_dim"] = 0
        model = resolve(said)
    except (TypeError, ValueError, ConfigError) as error:
        raise MasscliError(f"{path}: {error}".replace("model.", ""), "is it as it was published?") from None
    return replace(model, arch=_named(family, model))


def lead(family: Family, raw: Mapping[str, Any]) -> int:
    """How many rows of positions lie before the first: RoBERTa's begin behind the id of padding."""
    return int(raw.get("pad_token_id") or 0) + 1 if family.offset else 0


def write_shape(family: Family, model: ModelConfig, vocab: Vocabulary) -> dict[str, Any]:
    """The config.json of a model.  Raises MasscliError, which names the setting, where it has no counterpart."""
    own, dim = to_dict(model), model.dim
    usual = to_dict(resolve({"arch": family.arch})) | {"languages": "none", "embedding_dim": 0}
    if family is GPT:
        usual["ffn_dim"] = 4 * dim
    if model.embedding_dim == dim:
        own["embedding_dim"] = 0
    for field in ARCHITECTURE_FIELDS:
        if field not in (*_APART, *family.keys) and own[field] != usual[field]:
            raise _alone(family, field, own[field], f"has {usual[field]}")
    if model.head_transform is not model.output_bias:
        raise _alone(family, "output_bias", model.output_bias, "has it with head_transform, or neither")
    for field, part in (("head_transform", family.output), ("pooler", family.pooler)):
        if own[field] and not part:
            raise _alone(family, field, True, "has none")
    if model.activation not in family.activations.values():
        raise _alone(
            family,
            "activation",
            model.activation,
            f"has {', '.join(dict.fromkeys(family.activations.values()))}",
        )
    if "segments" in family.keys and not model.segments:
        raise _alone(family, "segments", 0, "has at least one")
    if not own["embedding_dim"] and model.project_embeddings is not (family is ALBERT):
        rule = (
            "projects even what is as wide as the layers"
            if family is ALBERT
            else "projects only what is narrower than the layers"
        )
        raise _alone(family, "project_embeddings", model.project_embeddings, rule)
    if family.offset and vocab.pad >= MOST_UNUSED:
        raise MasscliError(
            f"padding has the id {vocab.pad}, and positions of {family.title} begin behind it",
            "try --family bert",
        )
    own["activation"] = next(name for name, meant in family.activations.items() if meant == model.activation)
    own["embedding_dim"] = own["embedding_dim"] or dim
    made = {key: own[field] for field, key in family.keys.items()} | dict(family.demands)
    made |= {
        "vocab_size": vocab.size,
        "pad_token_id": vocab.pad,
        "bos_token_id": vocab.bos,
        "eos_token_id": vocab.eos,
    }
    if family.offset:
        made[family.keys["max_positions"]] += vocab.pad + 1
    if family is GPT:
        made["embd_pdrop"] = model.dropout
    return {"model_type": family.model_type, "tie_word_embeddings": True, "initializer_range": 0.02, **made}


def choose(model: ModelConfig) -> Family:
    """The family that a model is likest to."""
    if not model.encoder_layers:
        return GPT
    if model.share_layers != "none":
        return ALBERT
    if model.embedding_dim not in (0, model.dim) or model.arch.startswith(ELECTRA.sizes):
        return ELECTRA
    return ROBERTA if model.segments == 1 else BERT


def _alone(family: Family, field: str, value: object, theirs: str) -> MasscliError:
    return MasscliError(f"{field} is {value}: Hugging Face's {family.title} {theirs}",
                        f"it has no counterpart there; models of --arch {family.arch} have one, whatever their size")  # fmt: skip


def _named(family: Family, model: ModelConfig) -> str:
    """The named size that is as deep and as wide, else the family's first."""
    alike = ("dim", "ffn_dim", "heads", "embedding_dim", "encoder_layers", "decoder_layers")
    own = to_dict(model)
    sizes = [name for name in presets() if name.startswith(family.sizes)]
    return next(
        (name for name in sizes if all(to_dict(resolve({"arch": name}))[f] == own[f] for f in alike)),
        family.arch,
    )
