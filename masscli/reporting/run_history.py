"""Read the data of a run that an HTML report shows: curves, warnings, sample outputs and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from masscli.core.config import config, from_dict
from masscli.reporting.run_log import LoggedValidation, RunLog, add_event, read_events
from masscli.training.events import kind_of_warning
from masscli.training.recipe_file import read_toml

Points = list[tuple[float, float]]
"""The points of a curve as (update, value), in the order of updates."""


@config
class LoggedSample:
    """The output of a run for one sample line at the validation after update `step`."""

    step: int
    task: str
    """Name of the validation task that generated the output, such as a stream or a direction."""
    source: str
    reference: str
    output: str


@dataclass(slots=True)
class RunHistory:
    """The data of one run that an HTML report shows."""

    log: RunLog
    """The figures of the table of runs."""
    losses: dict[str, Points] = field(default_factory=dict)
    """Curves of the training losses in nats per target, by `STREAM.TERM`: a stream and a term of its loss."""
    speed: dict[str, Points] = field(default_factory=dict)
    """Curves of the learning rate, the gradient norm, targets per second and memory in GiB, by title."""
    objective_metrics: dict[str, Points] = field(default_factory=dict)
    """Curves of what objectives report about their own work during training, such as back-translation."""
    validation: dict[str, Points] = field(default_factory=dict)
    """Curves of the validation metrics, by metric."""
    warnings: dict[str, list[int]] = field(default_factory=dict)
    """The updates at which each warning was logged, by its text up to the first parenthesis."""
    samples: list[LoggedSample] = field(default_factory=list)
    """The sample outputs of all validations, in the order of the log."""
    settings: dict[str, str] = field(default_factory=dict)
    """The settings of the recipe as text, by dotted key such as `optim.lr`."""


@config
class _Updates:
    """The fields of an event `stepped` (updates were made) that a report shows; None means not finite."""

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
class _Warned:
    """The fields of an event `warned` (the machine makes the run slow)."""

    step: int
    warning: str


def read_history(folder: Path) -> RunHistory:
    """Read the log and the recipe of the run in `folder`.

    Without a recipe.toml there are no settings. Raises MasscliError if there is no log, or if a file is
    malformed.
    """
    history = RunHistory(RunLog(folder.name))
    read_events(folder, lambda event: _add_event(history, event))
    recipe = folder / "recipe.toml"
    if recipe.is_file():
        history.settings = dict(_flatten(read_toml(recipe)))
    return history


def _add_event(history: RunHistory, event: Mapping[str, Any]) -> None:
    """Add a parsed line of the log to `history` and to its `log`, in place.

    Kinds of events that a report does not show are ignored. Raises KeyError, TypeError, ValueError,
    AttributeError or ConfigError if the line is not a JSON object, or if an event that is shown lacks a
    field or has a wrong one.
    """
    add_event(history.log, event)
    match event.get("event"):
        case "stepped":
            # An event has more fields than a report shows.
            names = [field.name for field in fields(cast(Any, _Updates))]
            _add_updates(
                history, from_dict(_Updates, {name: event[name] for name in names})
            )
        case "warned":
            warned = from_dict(
                _Warned, {"step": event["step"], "warning": event["warning"]}
            )
            _add_warning(history, warned.step, warned.warning)
        case "evaluated":
            made = from_dict(
                LoggedValidation, {"step": event["step"], "metrics": event["metrics"]}
            )
            _add_points(history.validation, made.step, made.metrics)
            # Logs of older runs have no samples.
            for sample in event.get("samples", ()):
                history.samples.append(
                    from_dict(LoggedSample, {"step": made.step, **sample})
                )


def _add_updates(history: RunHistory, made: _Updates) -> None:
    _add_points(history.losses, made.step, made.losses)
    _add_points(history.objective_metrics, made.step, made.objective_metrics)
    numbers = {"learning rate": made.lr, "norm of the gradient": made.grad_norm}
    if made.seconds > 0:
        numbers["targets a second"] = made.targets / made.seconds
    numbers["memory in GiB"] = made.memory
    _add_points(history.speed, made.step, numbers)
    for warning in made.warnings:
        _add_warning(history, made.step, warning)


def _add_warning(history: RunHistory, step: int, warning: str) -> None:
    history.warnings.setdefault(kind_of_warning(warning), []).append(step)


def _add_points(
    curves: dict[str, Points], step: int, values: Mapping[str, float | None]
) -> None:
    for name, value in values.items():
        # A value that is not finite leaves a gap.
        if value is not None:
            curves.setdefault(name, []).append((step, value))


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, value as text) of every setting in nested tables."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
