"""Read what a page shows of a run: curves, warnings, sample outputs and settings."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from masscli.core.config import config, from_dict
from masscli.core.errors import MasscliError
from masscli.reporting.run_log import RunLog, read_events, read_run
from masscli.text.corpus import read_text

Points = list[tuple[float, float]]
"""(update, value) of a curve, in the order of updates."""


@config
class LoggedSample:
    """What a run made of a line at a validation."""

    step: int
    task: str
    source: str
    reference: str
    output: str


@dataclass(slots=True)
class RunHistory:
    """Everything that a page shows of one run."""

    log: RunLog
    losses: dict[str, Points] = field(default_factory=dict)
    """Training losses, by `STREAM.TERM`."""
    speed: dict[str, Points] = field(default_factory=dict)
    """Learning rate, norm of the gradient, targets a second, and memory."""
    objective_metrics: dict[str, Points] = field(default_factory=dict)
    """What objectives measure of their own work, such as back-translation of its translations."""
    validation: dict[str, Points] = field(default_factory=dict)
    """Metrics of validation, by name."""
    warnings: dict[str, list[int]] = field(default_factory=dict)
    """The updates at which a warning was logged, by its text without the numbers in parentheses."""
    samples: list[LoggedSample] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    """The settings of the recipe, by dotted key."""


@config
class _Updates:
    """What a page shows of the event that some updates were made. What is not finite is None in the log."""

    step: int
    losses: dict[str, float | None]
    objective_metrics: dict[str, float | None]
    lr: float
    grad_norm: float | None
    targets: int
    seconds: float
    memory: float
    warnings: tuple[str, ...] = ()


@config
class _Validation:
    """What a page shows of a validation."""

    step: int
    metrics: dict[str, float | None]


def read_history(folder: Path) -> RunHistory:
    """Read the log and the recipe of a run. Raises MasscliError if one of them cannot be read."""
    history = RunHistory(read_run(folder))
    read_events(folder, lambda event: _add_event(history, event))
    recipe = folder / "recipe.toml"
    if recipe.is_file():
        try:
            history.settings = dict(_flatten(tomllib.loads(read_text(recipe))))
        except (ValueError, RecursionError) as error:
            raise MasscliError(f"{recipe}: {error}", "the file must be TOML") from None
    return history


def _add_event(history: RunHistory, event: Mapping[str, Any]) -> None:
    """Add an event to the history. Raises any of several errors if it is none."""
    match event.get("event"):
        case "stepped":
            names = [field.name for field in fields(cast(Any, _Updates))]
            _add_updates(history, from_dict(_Updates, {name: event[name] for name in names}))
        case "evaluated":
            made = from_dict(_Validation, {"step": event["step"], "metrics": event["metrics"]})
            _add_points(history.validation, made.step, made.metrics)
            # Logs of older runs have no samples.
            for sample in event.get("samples", ()):
                history.samples.append(from_dict(LoggedSample, {"step": made.step, **sample}))


def _add_updates(history: RunHistory, made: _Updates) -> None:
    _add_points(history.losses, made.step, made.losses)
    _add_points(history.objective_metrics, made.step, made.objective_metrics)
    numbers = {"learning rate": made.lr, "norm of the gradient": made.grad_norm}
    if made.seconds > 0:
        numbers["targets a second"] = made.targets / made.seconds
    numbers["memory in GiB"] = made.memory
    _add_points(history.speed, made.step, numbers)
    for warning in made.warnings:
        # What stands in parentheses are numbers, which change from one event to the next.
        history.warnings.setdefault(warning.partition(" (")[0], []).append(made.step)


def _add_points(curves: dict[str, Points], step: int, values: Mapping[str, float | None]) -> None:
    for name, value in values.items():
        if value is not None:
            curves.setdefault(name, []).append((step, value))


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the text of every setting."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
