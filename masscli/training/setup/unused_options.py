"""Find the options of a training command that have no effect.

Each objective declares rules for its own options; the rules for the sections of a recipe and for the choice
of streams are in this module. An option counts as given if a flag gives it, whatever its value, or if a file
gives it a value other than the default. Default values in a file do not count, because the stored recipe of a
run lists every default and may be used as such a file.
"""

from __future__ import annotations

from masscli.core.config import (
    Problem,
    UnusedOption,
    find_unused,
    is_changed,
    iter_options,
    refuse_misleading,
)
from masscli.models.config import ModelConfig
from masscli.objectives.registry import ObjectiveConfig
from masscli.training.config import OptimConfig, ValidConfig
from masscli.training.recipe import Recipe
from masscli.training.setup.request import TrainRequest


def check_unused_options(recipe: Recipe, request: TrainRequest) -> list[Problem]:
    """Return a problem, with the reason, for each option that was given but has no effect.

    Raises ConfigError if the result would mislead, because an option asks for something that does not happen.
    """
    unused = _unused_in_sections(recipe, request)
    unused |= _unused_in_objectives(recipe, request)
    unused |= _unused_in_selection(recipe, request)
    return refuse_misleading(unused)


def section_rules(recipe: Recipe) -> dict[str, tuple[UnusedOption, ...]]:
    """Return, by section of the recipe, the rules that say which of its options have no effect."""
    return {
        "model": _model_rules(recipe.model),
        "optim": _optimizer_rules(recipe.optim),
        "train": _training_rules(recipe),
        "checkpoint": _checkpoint_rules(recipe),
        "valid": _validation_rules(recipe.valid),
    }


def _model_rules(model: ModelConfig) -> tuple[UnusedOption, ...]:
    """Return the rules for options of the model."""
    # The decoder may embed positions differently from the encoder.
    position_kinds = {model.for_stack(stack).positions for stack in model.stacks}
    # Cross-attention joins two stacks.
    has_both_stacks = model.encoder_layers > 0 and model.decoder_layers > 0
    return (
        UnusedOption(
            not model.encoder_layers,
            "relative_buckets relative_distance",
            "only an encoder has relative positions",
            misleading=True,
        ),
        UnusedOption(
            not model.relative_buckets,
            "relative_distance",
            "there are no relative positions without --relative-buckets",
        ),
        UnusedOption(
            model.languages != "tag",
            "source_tag target_tag",
            "there are no tags without --languages tag",
        ),
        UnusedOption(
            model.languages == "tag" and model.source_tag != "last",
            "source_bos",
            f"the tag of --source-tag {model.source_tag} is in the place of the start symbol",
        ),
        UnusedOption(
            position_kinds == {"none"},
            "position_offset",
            "the model has no positions",
        ),
        UnusedOption(
            "sinusoidal" not in position_kinds,
            "sinusoids",
            "the model has no sinusoidal positions",
        ),
        UnusedOption(
            not model.decoder_layers,
            "decoder_ffn_dim decoder_heads decoder_norm decoder_position_type decoder_max_positions",
            "the model has no decoder",
            misleading=True,
        ),
        UnusedOption(
            not has_both_stacks,
            "cross_output",
            "the model has no cross-attention",
            misleading=True,
        ),
    )


def _optimizer_rules(optim: OptimConfig) -> tuple[UnusedOption, ...]:
    """Return the rules for options of the optimizer and the learning rate."""
    schedule = f"--lr-scheduler {optim.lr_scheduler}"
    return (
        UnusedOption(
            optim.layer_decay == 1,
            "layer_decay_offset",
            "all layers have one learning rate without --layer-decay",
        ),
        UnusedOption(
            optim.lr_scheduler not in ("inverse_sqrt", "reduce_lr_on_plateau"),
            "warmup_init_lr",
            f"{schedule} warms up from 0",
        ),
        UnusedOption(
            optim.lr_scheduler in ("inverse_sqrt", "constant", "poly_mult"),
            "end_lr",
            f"{schedule} approaches no such value",
        ),
        UnusedOption(
            optim.lr_scheduler != "wsd",
            "decay_updates decay_shape",
            f"{schedule} has no decay of its own; use --lr-scheduler wsd",
        ),
        UnusedOption(
            optim.lr_scheduler != "reduce_lr_on_plateau",
            "lr_shrink lr_patience lr_threshold",
            f"{schedule} does not depend on validations; use --lr-scheduler reduce_lr_on_plateau",
        ),
        UnusedOption(
            optim.optimizer == "adafactor",
            "adam_betas adam_eps",
            "--optimizer adafactor has no such numbers",
        ),
        UnusedOption(
            not _has_weight_decay(optim),
            "decay_all",
            "no weights decay without --weight-decay",
        ),
    )


def _training_rules(recipe: Recipe) -> tuple[UnusedOption, ...]:
    """Return the rules for options of batches, precision and processes."""
    kinds = [stream.objective.input_kind for stream in recipe.stream.values()]
    return (
        UnusedOption(
            recipe.optim.lr_scheduler == "constant",
            "stop_min_lr",
            "the rate of --lr-scheduler constant does not fall",
        ),
        UnusedOption(
            recipe.train.precision != "fp16",
            "min_loss_scale",
            "only --precision fp16 scales the loss",
        ),
        UnusedOption(
            bool(kinds) and all(kind.is_table for kind in kinds),
            "max_source_positions max_target_positions",
            "labeled examples that are too long are truncated as the options of the task say",
        ),
    )


def _checkpoint_rules(recipe: Recipe) -> tuple[UnusedOption, ...]:
    """Return the rules for options of checkpoints."""
    return (
        UnusedOption(
            not recipe.checkpoint.save,
            "keep_last keep_best keep_last_epochs keep_optimizer_states",
            "--no-save saves no checkpoints",
        ),
        UnusedOption(
            recipe.valid.disable_validation,
            "keep_best",
            "no checkpoint is best with --disable-validation",
        ),
    )


def _validation_rules(valid: ValidConfig) -> tuple[UnusedOption, ...]:
    """Return the rules for options of validation."""
    searches = valid.eval_bleu or valid.eval_rouge
    return (
        UnusedOption(
            valid.disable_validation,
            "validate_interval_updates validate_interval validate_after_updates max_tokens_valid",
            "--disable-validation is given",
        ),
        UnusedOption(
            not searches,
            "eval_beam",
            "nothing is searched for without --eval-bleu or --eval-rouge",
        ),
        UnusedOption(
            not (searches or valid.eval_roundtrip),
            "eval_samples",
            "nothing is written without --eval-bleu, --eval-rouge or --eval-roundtrip",
        ),
    )


def _has_weight_decay(optim: OptimConfig) -> bool:
    """Return whether weight decay is in use, by the option --weight-decay or the optimizer's default."""
    if optim.weight_decay is None:
        return optim.optimizer not in ("adamw", "adam", "adafactor")
    return optim.weight_decay > 0


def _unused_in_sections(
    recipe: Recipe, request: TrainRequest
) -> dict[str, UnusedOption]:
    """Return the options of the recipe's sections that were given but have no effect, by dotted key."""
    sections = {
        "model": recipe.model,
        "optim": recipe.optim,
        "train": recipe.train,
        "checkpoint": recipe.checkpoint,
        "valid": recipe.valid,
    }
    unused = {}
    for name, rules in section_rules(recipe).items():
        section = sections[name]
        given = request.recipe_options.get(name, {})
        for key, rule in find_unused(section, rules).items():
            # A stored recipe holds every default, so that only changed values in files count as given.
            by_flag = f"{name}.{key}" in request.flag_keys
            if by_flag or (key in given and is_changed(section, key)):
                unused[f"{name}.{key}"] = rule
    return unused


def _unused_in_objectives(
    recipe: Recipe, request: TrainRequest
) -> dict[str, UnusedOption]:
    """Return the options of objectives that were given but have no effect, each with the rule that says so.

    A flag that holds for several streams has an effect if it has one in any of them. The keys are the option,
    or `stream.NAME.objective.OPTION` if a recipe gave it.
    """
    unused: dict[str, UnusedOption] = {}
    objectives = {name: stream.objective for name, stream in recipe.stream.items()}
    for name, objective in objectives.items():
        table = request.stream_tables.get(name, {}).get("objective", {})
        for key, rule in find_unused(objective).items():
            if key in request.objective_options:
                # A flag applies to all streams, but need not have an effect in each of them.
                if not any(_uses(other, key) for other in objectives.values()):
                    unused.setdefault(key, rule)
            elif key in table and is_changed(objective, key):
                unused[f"stream.{name}.objective.{key}"] = rule
    return unused


def _unused_in_selection(
    recipe: Recipe, request: TrainRequest
) -> dict[str, UnusedOption]:
    """Return --lang-temperature, with the rule, if it was given but changes no sampling weight."""
    selection = request.selection
    streams = recipe.stream.values()
    # With auxiliary streams, the temperature may affect their weights.
    if selection.lang_temperature == 1 or selection.auxiliary:
        return {}
    equally_often = not any(
        stream.objective.input_kind.sampled_by_size for stream in streams
    )
    rules = (
        UnusedOption(
            equally_often,
            "lang_temperature",
            "directions of back-translation are sampled equally often",
        ),
        UnusedOption(len(streams) == 1, "lang_temperature", "the run has one stream"),
    )
    return find_unused(selection, rules)


def _uses(objective: ObjectiveConfig, key: str) -> bool:
    """Return whether an objective has the option `key`, and the option has an effect in it."""
    has_option = any(option.key == key for option in iter_options(type(objective)))
    return has_option and key not in find_unused(objective)
