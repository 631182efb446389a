"""Choose the architecture of a run: a named size, or that of the checkpoint with the initial weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.config import from_dict, to_dict
from masscli.core.digits import parse_digits
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.presets import resolve
from masscli.text.vocabulary import Vocabulary
from masscli.training.recipe import Recipe, StreamConfig

ARCHITECTURE_FIELDS = (
    "encoder_layers", "decoder_layers", "dim", "ffn_dim", "heads", "norm", "norm_eps", "final_norm",
    "norm_embedding", "scale_embedding", "activation", "positions", "max_positions", "position_offset",
    "sinusoids", "embeddings", "tie_output", "output_bias", "languages", "cross_output", "source_bos",
    "source_tag", "target_tag", "segments", "embedding_dim", "project_embeddings", "share_layers",
    "head_transform", "pooler", "relative_buckets", "relative_distance", "decoder_ffn_dim", "decoder_heads",
    "decoder_norm", "decoder_position_type", "decoder_max_positions",
)  # fmt: skip
"""Fields of ModelConfig that decide which weights a model has and what they compute. With --init-from their
values come from the checkpoint."""

_GROWING_FIELDS = ("max_positions", "decoder_max_positions")
"""Fields with the sizes of position tables, which may be larger than in the checkpoint of --init-from."""

STACK_FIELDS = {"encoder": "encoder_layers", "decoder": "decoder_layers"}
"""By stack, the field of ModelConfig with its number of layers."""


def adapt_objectives(
    streams: Mapping[str, StreamConfig],
    model_options: Mapping[str, Any],
    recipe: Recipe,
    initial: Checkpoint | None,
) -> dict[str, StreamConfig]:
    """Return the training streams with their objectives adapted to the stacks of the model.

    Some objectives work with an encoder, a decoder or both, and join two texts in the format (BERT's or
    RoBERTa's) that the encoder was pre-trained with. `initial` is the checkpoint of --init-from, or
    None. The stacks are those of the checkpoint or, without one, of --arch and the options, before any
    stack is added that an objective needs.
    """
    pair_format: Literal["bert", "roberta"] = "bert"
    if initial is None:
        model = resolve(model_options)
    else:
        model = _model_from_checkpoint(initial, model_options, "any", recipe)
        # An encoder keeps reading two texts in the form that all its objectives have used.
        learned = [
            stream.objective.learned_pair_format
            for stream in initial.recipe.stream.values()
        ]
        if learned and set(learned) == {"roberta"}:
            pair_format = "roberta"
    has_encoder = model.encoder_layers > 0
    # With --init-decoder-from the run gets a decoder that --init-from does not have.
    has_decoder = model.decoder_layers > 0 or recipe.init_decoder_from is not None
    adapted = {}
    for name, stream in streams.items():
        objective = stream.objective.adapt_to_model(
            has_encoder, has_decoder, pair_format
        )
        adapted[name] = replace(stream, objective=objective)
    return adapted


def needed_stacks(
    streams: Mapping[str, StreamConfig], model_options: Mapping[str, Any]
) -> str:
    """Return the stacks that the training streams need: `encoder`, `decoder`, `encoder-decoder` or `any`.

    `any` means that either stack is enough. Raises MasscliError if `model_options` gives layers to a
    stack that no stream would train.
    """
    # A stream that can use any stack adapts to the others.
    kinds: set[str] = {stream.objective.stacks for stream in streams.values()}
    if len(kinds) > 1:
        kinds.discard("any")
    if len(kinds) > 1:
        return "encoder-decoder"
    (stacks,) = kinds
    for stack, other in (("encoder", "decoder"), ("decoder", "encoder")):
        layers = model_options.get(STACK_FIELDS[other])
        # Options may still be strings, as they were typed.
        if stacks == stack and layers not in (None, 0, "0"):
            raise MasscliError(
                f"--{other}-layers: {', '.join(streams)} would never train the {other}",
                f"leave it out: it needs the {stack} alone",
            )
    return stacks


def single_stack(
    recipe: Recipe,
    model_options: Mapping[str, Any],
    stacks: str,
    initial: Checkpoint | None,
) -> dict[str, Any]:
    """Return the options of the model, with 0 layers for the stack that --init-stacks leaves out.

    They are returned unchanged if --init-stacks or --init-from is not given, or if a stream needs the other
    stack as well; layers that options give to the other stack are kept. `stacks` is the result of
    `needed_stacks`, and `initial` the checkpoint of --init-from. Raises MasscliError if the checkpoint or the
    options lack the stack that --init-stacks names.
    """
    options = dict(model_options)
    stack = recipe.init_stacks
    if initial is None or stack == "both" or stacks not in ("any", stack):
        return options
    check_init(recipe, to_dict(initial.recipe.model))
    # The stack must exist in the checkpoint and in the options.
    check_init(recipe, {STACK_FIELDS[stack]: 1, **options})
    other = {"encoder": "decoder", "decoder": "encoder"}[stack]
    # Options come last, so that layers that the user gives to the other stack take precedence.
    return {STACK_FIELDS[other]: 0, **options}


def choose_architecture(
    model_options: Mapping[str, Any],
    stacks: str,
    languages: Sequence[str],
    recipe: Recipe,
    initial: Checkpoint | None,
) -> ModelConfig:
    """Return the configuration of the model.

    `stacks` are the stacks that the streams need: `encoder`, `decoder`, `encoder-decoder` or `any`.
    `languages` decide whether a model with `languages` auto gets language embeddings: it does if there are
    several. `initial` is the checkpoint of --init-from, or None. Raises MasscliError if a stack that is
    needed has no layers, or if an option contradicts the checkpoint.
    """
    if initial is None:
        model = resolve(model_options, stacks)
    else:
        model = _model_from_checkpoint(initial, model_options, stacks, recipe)
    for stack, layers in (
        ("encoder", model.encoder_layers),
        ("decoder", model.decoder_layers),
    ):
        # The names of the stacks are parts of the string: `encoder-decoder` has both.
        if not layers and stack in stacks:
            raise MasscliError(
                f"--arch {model.arch} has no {stack}, which the objective needs",
                f"add --{stack}-layers N",
            )
    if model.languages == "auto":
        if len(languages) > 1:
            return replace(model, languages="embedding")
        return replace(model, languages="none")
    return model


def check_init(recipe: Recipe, model: Mapping[str, Any]) -> None:
    """Raise MasscliError if the model lacks a stack that --init-stacks or --init-decoder-from names.

    `model` has the fields of a ModelConfig as plain data.
    """
    stack = recipe.init_stacks
    if stack != "both" and model[STACK_FIELDS[stack]] in (0, "0"):
        raise MasscliError(
            f"--init-stacks {stack}: the model has no {stack}",
            "leave --init-stacks out, or use a model with this stack",
        )
    if recipe.init_decoder_from is not None and not model["decoder_layers"]:
        raise MasscliError(
            f"--init-decoder-from {recipe.init_decoder_from}: the model has no decoder",
            "leave it out",
        )


def check_lengths(recipe: Recipe) -> None:
    """Raise MasscliError if examples of running text are longer than the model has positions.

    Otherwise nearly all examples would be left out. This also refuses a --length-multiple that does not
    divide the number of positions of each stack, because padding could then exceed it.
    """
    model = recipe.model
    multiple = recipe.train.length_multiple
    # The longest examples must not be padded beyond the last position.
    for flag, positions in (
        ("--max-positions", model.max_positions),
        ("--decoder-max-positions", model.max_target_positions),
    ):
        if positions % multiple:
            raise MasscliError(
                f"--length-multiple {multiple}: {positions} positions are not a multiple of it",
                f"add {flag} {positions + -positions % multiple}",
            )
    starts_with_tag = model.languages == "tag" and model.source_tag != "last"
    prefix_length = int(model.source_bos or starts_with_tag)
    for stream in recipe.stream.values():
        limit = stream.objective.max_example_length(prefix_length)
        if limit is None:
            continue
        option, tokens = limit
        positions, flag = (
            model.positions_for(stream.objective.stacks),
            "--max-positions",
        )
        if positions != model.max_positions:
            flag = "--decoder-max-positions"
        # The error names the option that makes pieces shorter.
        excess = tokens - positions
        if excess > 0:
            size = to_dict(stream.objective)[option]
            raise MasscliError(
                f"--{option.replace('_', '-')} {size}: the model has {positions} positions",
                f"give at most {size - excess}, or add {flag} {tokens}",
            )


def check_vocabularies(recipe: Recipe, vocab: Vocabulary) -> None:
    """Raise MasscliError if a stream reads or writes a language on a side for which there is no vocabulary.

    A data folder may have one vocabulary for sources and another for targets. Then only translation in
    that direction can be trained.
    """
    for stream in recipe.stream.values():
        kind = stream.objective.input_kind
        source, _, target = stream.dataset.partition("-")
        if not kind.has_direction:
            target = source
        vocab.check_direction(source, target)
        # The model translates in the other direction to make a source.
        if kind.makes_sources:
            vocab.check_direction(target, source)


def check_shared_layers(recipe: Recipe) -> None:
    """Raise MasscliError if --freeze N or --layer-decay would treat layers that share weights differently."""
    model = recipe.model
    optim = recipe.optim
    # A stack of one layer shares nothing.
    if (
        model.share_layers == "none"
        or max(model.encoder_layers, model.decoder_layers) == 1
    ):
        return
    reason = f"the layers share weights (--share-layers {model.share_layers})"
    for part in optim.freeze:
        if parse_digits(part) is not None:
            raise MasscliError(
                f"--freeze {part}: {reason}, so none can be frozen alone",
                "name embeddings or a stack, or leave it out",
            )
    if optim.layer_decay != 1:
        raise MasscliError(
            f"--layer-decay {optim.layer_decay}: {reason}, so they have one learning rate",
            "leave it out",
        )


def _model_from_checkpoint(
    checkpoint: Checkpoint, options: Mapping[str, Any], stacks: str, recipe: Recipe
) -> ModelConfig:
    """Return the architecture of a checkpoint, with those options applied that its weights allow.

    A needed stack that the checkpoint lacks gets its layers from --arch or the options; a stack that is not
    needed may be left out by an option with 0 layers. A table of positions may grow. Raises MasscliError if
    another option contradicts the checkpoint.
    """
    # The named size of the checkpoint fills in what options leave open, such as the layers of a new stack.
    fresh = resolve({"arch": checkpoint.recipe.model.arch, **options}, stacks)
    stored = to_dict(checkpoint.recipe.model)
    asked = to_dict(fresh)
    free = _free_stacks(stored, asked, options, stacks)
    fixed = [field for field in ARCHITECTURE_FIELDS if field not in free]
    for field in fixed:
        _check_field(field, stored, asked, options, recipe)
    # Other options of a model, such as dropout, are free.
    model = dict(stored)
    for field in free:
        # A stack that is added takes its layers from the named size.
        if field in options or not stored[field]:
            model[field] = asked[field]
    for field in options:
        if field not in fixed:
            model[field] = asked[field]
    for field in _GROWING_FIELDS:
        if field in options:
            model[field] = max(stored[field], asked[field])
    return from_dict(ModelConfig, model, "model")


def _check_field(
    field: str,
    stored: Mapping[str, Any],
    asked: Mapping[str, Any],
    options: Mapping[str, Any],
    recipe: Recipe,
) -> None:
    """Raise MasscliError if an option or --arch contradicts a field of the checkpoint's configuration.

    `stored` is the configuration of the checkpoint, `asked` the one that --arch and all options give, and
    `options` has what the user gave, all as plain data.
    """
    # `auto` stands for whatever the checkpoint has.
    if asked[field] in (stored[field], "auto"):
        return
    # A table of positions may grow.
    if (
        field in _GROWING_FIELDS
        and field in options
        and asked[field] > stored[field] > 0
    ):
        return
    if field in options:
        given = f"--{field.replace('_', '-')} {asked[field]}"
    elif asked["arch"] != stored["arch"]:
        given = f"--arch {asked['arch']}"
    else:
        return
    raise MasscliError(
        f"{given} differs from the weights in {recipe.init_from}: their {field} is {stored[field]}",
        "leave it out: a model's architecture comes with its weights",
    )


def _free_stacks(
    stored: Mapping[str, Any],
    asked: Mapping[str, Any],
    options: Mapping[str, Any],
    stacks: str,
) -> set[str]:
    """Return the fields with numbers of layers that may differ from those of the checkpoint.

    These belong to stacks that are added, because the checkpoint lacks them, or left out by an option with 0
    layers. `stored` is the configuration of the checkpoint, `asked` the one that --arch and all options give.
    """
    free = set()
    for stack, layers in STACK_FIELDS.items():
        added = not stored[layers] and (stacks != "any" or layers in options)
        left_out = layers in options and not asked[layers] and stack not in stacks
        if added or left_out:
            free.add(layers)
    return free
