"""Options that were given and would change nothing are refused by name, with the reason; defaults and named sizes say nothing.

Which options are idle beside which others is declared with them (`masscli.config.Idle`).  Given is what a flag says, whatever its value,
and what a file says if it is not the default: the recipe of a run holds every default, and may be used again.  A flag that holds for
several streams need be of use to one of them only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from masscli.config import ConfigError, Idle, encode, rows
from masscli.recipe import ModelConfig, ObjectiveConfig, OptimConfig, Recipe, StreamConfig, TrainConfig, ValidConfig


class Given(Protocol):
    """What was typed (`masscli.cli.request.TrainRequest`)."""

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
        raise ConfigError("\n".join(f"{key}: {why}" for key, why in found.items()), "leave it out, since it would change nothing")


def _of_the_recipe(recipe: Recipe, given: Given) -> dict[str, str]:
    sections: dict[str, ModelConfig | OptimConfig | TrainConfig | ValidConfig]
    sections = {"model": recipe.model, "optim": recipe.optim, "train": recipe.train, "valid": recipe.valid}
    own = {f"{name}.{key}": why for name, section in sections.items() for key, why in _reasons(section.idle).items()}
    found = {}
    for key, why in (own | _reasons(recipe.idle)).items():
        name, _, option = key.partition(".")
        if key in given.flags or (option in given.recipe_raw.get(name, {}) and _changed(sections[name], option)):
            found[key] = why
    return found


def _of_streams(streams: Mapping[str, StreamConfig], given: Given) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, stream in streams.items():
        written = given.streams_raw.get(name, {}).get("objective", {})
        for key, why in _reasons(stream.objective.idle).items():
            if key in given.objective_raw:
                if not any(_uses(other.objective, key) for other in streams.values()):
                    found.setdefault(key, why)
            elif key in written and _changed(stream.objective, key):
                found[f"stream.{name}.objective.{key}"] = why
    return found


def _reasons(rules: Iterable[Idle]) -> dict[str, str]:
    """Each idle option, and why: the first rule that holds says it."""
    found: dict[str, str] = {}
    for rule in rules:
        if rule.holds:
            found = dict.fromkeys(rule.names.split(), rule.why) | found
    return found


def _uses(objective: ObjectiveConfig, key: str) -> bool:
    return any(row.key == key for row in rows(type(objective))) and key not in _reasons(objective.idle)


def _changed(section: Any, key: str) -> bool:
    """Whether an option has not its default."""
    default = next(row.default for row in rows(type(section)) if row.key == key)
    value = encode(section).get(key)
    return bool(value != (list(default) if isinstance(default, tuple) else default))
