"""Options that were given and would change nothing are refused by name, with the reason; defaults and named sizes say nothing.

Which options of an objective are idle beside which others is declared with them (`idle`); those of the rest of a recipe are here, in
`idle_in`.  Given is what a flag says, whatever its value, and what a file says if it is not the default: the recipe of a run holds every
default, and may be used again.  A flag that holds for several streams need be of use to one of them only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from masscli.core.config import ConfigError, Problem, UnusedOption, iter_options, to_dict
from masscli.objectives.registry import ObjectiveConfig
from masscli.training.recipe import Recipe, StreamConfig


class Given(Protocol):
    """What was typed (`masscli.cli.training_request.TrainRequest`)."""

    @property
    def recipe_raw(self) -> Mapping[str, Any]: ...
    @property
    def streams_raw(self) -> Mapping[str, Mapping[str, Any]]: ...
    @property
    def objective_raw(self) -> Mapping[str, Any]: ...
    @property
    def flags(self) -> frozenset[str]: ...


def refuse_idle(recipe: Recipe, given: Given) -> None:
    """Raise a ConfigError that names every given option without effect."""
    found = _of_the_recipe(recipe, given) | _of_streams(recipe.stream, given)
    if found:
        raise ConfigError(
            *(Problem(key, why) for key, why in found.items()),
            hint="leave it out, since it would change nothing",
        )


def idle_in(recipe: Recipe) -> dict[str, tuple[UnusedOption, ...]]:
    """The rules of a recipe's sections."""
    model, optim, valid = recipe.model, recipe.optim, recipe.valid
    both = model.encoder_layers > 0 and model.decoder_layers > 0
    decays = optim.weight_decay or (optim.weight_decay is None and optim.optimizer not in ("adamw", "adam"))
    shape, lengths = (
        f"--lr-scheduler {optim.lr_scheduler}",
        "labelled examples that are too long are cut, and the task has options for it",
    )
    tables = bool(recipe.stream) and all(s.objective.input_kind.is_table for s in recipe.stream.values())
    return {
        "model": (
            UnusedOption(
                not model.encoder_layers,
                "relative_buckets relative_distance",
                "only an encoder has relative positions",
            ),
            UnusedOption(
                not model.relative_buckets,
                "relative_distance",
                "there are no relative positions without --relative-buckets",
            ),
            UnusedOption(not both, "cross_output", "the model has no cross-attention"),
        ),
        "optim": (
            UnusedOption(
                optim.layer_decay == 1,
                "layer_decay_offset",
                "all layers learn at one rate without --layer-decay",
            ),
            UnusedOption(optim.lr_scheduler != "inverse_sqrt", "warmup_init_lr", f"{shape} warms up from 0"),
            UnusedOption(
                optim.lr_scheduler in ("inverse_sqrt", "constant", "poly_mult"),
                "end_lr",
                f"{shape} has no such end",
            ),
            UnusedOption(not decays, "decay_all", "nothing decays without --weight-decay"),
        ),
        "train": (
            UnusedOption(
                recipe.train.precision != "fp16", "min_loss_scale", "only --precision fp16 scales its loss"
            ),
            UnusedOption(tables, "max_source_positions max_target_positions", f"{lengths}; see its --help"),
        ),
        "valid": (
            UnusedOption(
                not (valid.eval_bleu or valid.eval_rouge),
                "eval_beam",
                "nothing is searched for without --eval-bleu or --eval-rouge",
            ),
        ),
    }


def _of_the_recipe(recipe: Recipe, given: Given) -> dict[str, str]:
    sections = {"model": recipe.model, "optim": recipe.optim, "train": recipe.train, "valid": recipe.valid}
    return {
        f"{name}.{key}": why
        for name, rules in idle_in(recipe).items()
        for key, why in _reasons(rules).items()
        if f"{name}.{key}" in given.flags
        or (key in given.recipe_raw.get(name, {}) and _changed(sections[name], key))
    }


def _of_streams(streams: Mapping[str, StreamConfig], given: Given) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, stream in streams.items():
        written = given.streams_raw.get(name, {}).get("objective", {})
        for key, why in _reasons(stream.objective.unused_options).items():
            if key in given.objective_raw:
                if not any(_uses(other.objective, key) for other in streams.values()):
                    found.setdefault(key, why)
            elif key in written and _changed(stream.objective, key):
                found[f"stream.{name}.objective.{key}"] = why
    return found


def _reasons(rules: Iterable[UnusedOption]) -> dict[str, str]:
    """Each idle option, and why: the first rule that holds says it."""
    found: dict[str, str] = {}
    for rule in rules:
        if rule.condition:
            found = dict.fromkeys(rule.options.split(), rule.reason) | found
    return found


def _uses(objective: ObjectiveConfig, key: str) -> bool:
    return any(row.key == key for row in iter_options(type(objective))) and key not in _reasons(
        objective.unused_options
    )


def _changed(section: Any, key: str) -> bool:
    """Whether an option has not its default."""
    default = next(row.default for row in iter_options(type(section)) if row.key == key)
    value = to_dict(section).get(key)
    return bool(value != (list(default) if isinstance(default, tuple) else default))
