"""Which model a recipe stands for: as it is named and said, or as the weights that it begins with have it; and what it has room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.config import from_dict, to_dict
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.presets import resolve
from masscli.training.recipe import Recipe, StreamConfig

ARCHITECTURE_FIELDS = (
    "encoder_layers", "decoder_layers", "dim", "ffn_dim", "heads", "norm", "norm_eps", "norm_embedding", "scale_embedding", "activation",
    "positions", "max_positions", "embeddings", "output_bias", "languages", "cross_output", "source_bos", "segments",
    "embedding_dim", "project_embeddings", "share_layers", "head_transform", "pooler", "relative_buckets", "relative_distance",
)  # fmt: skip
"""Fields of a model that its weights depend on; with --init-from they come from the checkpoint."""


def adapt_objectives(
    streams: Mapping[str, StreamConfig], said: Mapping[str, Any], recipe: Recipe
) -> dict[str, StreamConfig]:
    """Objectives that can do with one stack or with both are told what there is, and what it has read, before anything is added."""
    pair_format: Literal["bert", "roberta"] = "bert"
    if recipe.init_from is None:
        there = resolve(said)
    else:
        old = Checkpoint.open(recipe.init_from).recipe
        there = _shape_of(old.model, said, "any", recipe.init_from)
        if old.stream and all(
            stream.objective.learned_pair_format == "roberta" for stream in old.stream.values()
        ):
            pair_format = "roberta"
    encoder, decoder = (
        there.encoder_layers > 0,
        there.decoder_layers > 0 or recipe.init_decoder_from is not None,
    )
    return {
        name: replace(s, objective=s.objective.adapt_to_model(encoder, decoder, pair_format))
        for name, s in streams.items()
    }


def single_stack(recipe: Recipe, said: dict[str, Any], stacks: str) -> dict[str, Any]:
    """What was said of the model; the stack that is not taken from the first weights is left out where no stream needs it."""
    stack = recipe.init_stacks
    if recipe.init_from is None or stack == "both" or stacks not in ("any", stack):
        return said
    check_init(recipe, to_dict(Checkpoint.open(recipe.init_from).recipe.model))
    check_init(recipe, {f"{stack}_layers": 1, **said})
    return {("decoder" if stack == "encoder" else "encoder") + "_layers": 0, **said}


def check_init(recipe: Recipe, model: Mapping[str, Any]) -> None:
    """A stack that is begun with must be there."""
    stack = recipe.init_stacks
    if stack != "both" and model[f"{stack}_layers"] in (0, "0"):
        raise MasscliError(
            f"--init-stacks {stack}: the model has no {stack}", "leave it out, or take another run"
        )
    if recipe.init_decoder_from is not None and not model["decoder_layers"]:
        raise MasscliError(
            f"--init-decoder-from {recipe.init_decoder_from}: the model has no decoder", "leave it out"
        )


def check_lengths(recipe: Recipe) -> None:
    """The pieces that running text is cut into must have positions; else nearly all of them would be left out."""
    model = recipe.model
    for stream in recipe.stream.values():
        option, tokens = stream.objective.max_example_length(
            int(model.source_bos or model.languages == "tag")
        ) or (
            "",
            0,
        )
        if (over := tokens - model.max_positions) > 0:
            size = to_dict(stream.objective)[option]
            message = f"--{option.replace('_', '-')} {size}: the model has {model.max_positions} positions"
            raise MasscliError(message, f"give at most {size - over}, or add --max-positions {tokens}")


def check_shared_layers(recipe: Recipe) -> None:
    """What layers share stands at no height of its own: it can be neither among the lowest nor have a rate of its own."""
    model, optim = recipe.model, recipe.optim
    if model.share_layers == "none" or max(model.encoder_layers, model.decoder_layers) == 1:
        return
    why = f"the layers share weights (--share-layers {model.share_layers})"
    if lowest := next((part for part in optim.freeze if part.isdecimal()), None):
        raise MasscliError(
            f"--freeze {lowest}: {why}, so none can be told apart",
            "name embeddings or a stack, or leave it out",
        )
    if optim.layer_decay != 1:
        raise MasscliError(f"--layer-decay {optim.layer_decay}: {why}, and so their rate", "leave it out")


def shape(said: Mapping[str, Any], stacks: str, spoken: Sequence[str], init_from: Path | None) -> ModelConfig:
    """The model for streams that need `stacks`, spoken to in some languages: of a named size, or of the shape of its first weights."""
    model = (
        resolve(said, stacks)
        if init_from is None
        else _shape_of(Checkpoint.open(init_from).recipe.model, said, stacks, init_from)
    )
    for stack, layers in (("encoder", model.encoder_layers), ("decoder", model.decoder_layers)):
        if not layers and stack in stacks:
            raise MasscliError(
                f"--arch {model.arch} has no {stack}, which the objective needs", f"add --{stack}-layers N"
            )
    if model.languages == "auto":
        several = "embedding" if len(spoken) > 1 else "none"
        model = replace(model, languages=cast(Any, several))
    return model


def _shape_of(old: ModelConfig, said: Mapping[str, Any], stacks: str, path: Path) -> ModelConfig:
    """The shape that weights come with; a stack that they lack and that is needed is as its named size, or the user, has it, and one that
    they have and that is not needed may be left out."""
    fresh = resolve({"arch": old.arch, **said}, stacks)
    had, wanted = to_dict(old), to_dict(fresh)
    halves = {"encoder": "encoder_layers", "decoder": "decoder_layers"}
    lacking = [
        layers for layers in halves.values() if not had[layers] and (stacks != "any" or layers in said)
    ]
    left_out = [
        layers
        for stack, layers in halves.items()
        if layers in said and not wanted[layers] and stack not in stacks
    ]
    for field in ARCHITECTURE_FIELDS:
        more = (
            field == "max_positions" and field in said and wanted[field] > had[field]
        )  # a learned table is then repeated
        if (
            more
            or field in (*lacking, *left_out)
            or wanted[field] in (had[field], "auto")
            or not (field in said or fresh.arch != old.arch)
        ):
            continue
        typed = f"--{field.replace('_', '-')} {wanted[field]}" if field in said else f"--arch {fresh.arch}"
        raise MasscliError(f"{typed} differs from the weights in {path}: their {field} is {had[field]}",
                           "leave it out: a model's shape comes with its weights")  # fmt: skip
    kept = {field: had[field] for field in ARCHITECTURE_FIELDS if field not in (*lacking, *left_out)}
    kept["max_positions"] = max(
        had["max_positions"], wanted["max_positions"] if "max_positions" in said else 0
    )
    return from_dict(
        ModelConfig, had | {k: v for k, v in wanted.items() if k in said or k in lacking} | kept, "model"
    )
