"""Read the `log.jsonl` of training runs, and compare their costs and validation metrics in a table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masscli.core.config import ConfigError, config, from_dict
from masscli.core.errors import MasscliError
from masscli.core.files import broken_link_hint
from masscli.core.json_text import parse_json
from masscli.metrics.perplexity import metric_text
from masscli.text.corpus import read_regular_text


@dataclass(slots=True)
class RunLog:
    """The figures from the log of a training run that a table of runs is made from."""

    name: str
    """Name of the run's folder."""
    updates: int = 0
    """The last update that was logged."""
    seconds: float = 0.0
    """Seconds of training in all sessions, as logged at the end of the last one; 0 if none has ended."""
    memory: float = 0.0
    """Peak memory in GiB."""
    update_seconds: list[float] = field(default_factory=list)
    """Seconds per update, one value for each `stepped` event of the log with new updates."""
    target_rates: list[float] = field(default_factory=list)
    """Target tokens per second, one value for each `stepped` event of the log with new updates."""
    metrics: dict[int, Mapping[str, float]] = field(default_factory=dict)
    """The metrics of each validation by name, by the update after which it was made; NaN if not finite."""
    best_step: int | None = None
    """Update of the best checkpoint; None if no saved checkpoint was marked as best."""

    def best_metrics(self) -> Mapping[str, float]:
        """Return the metrics at the best checkpoint, or else at the last validation, by name, if any."""
        step = self.best_step
        if step not in self.metrics:
            step = max(self.metrics, default=None)
        return self.metrics[step] if step is not None else {}

    def best(self, metric: str) -> float:
        """Return the value of a metric in `best_metrics`. Raises MasscliError if it is not there."""
        values = self.best_metrics()
        if metric not in values:
            known = _metric_names([self])
            raise MasscliError(
                f"{self.name}: its log has no metric {metric!r}",
                f"it has: {', '.join(known) or 'none'}",
            )
        return values[metric]


def read_run(folder: Path) -> RunLog:
    """Read the log of the run in `folder`. Raises MasscliError if there is none, or if it is malformed."""
    log = RunLog(folder.name)
    read_events(folder, lambda event: add_event(log, event))
    return log


def read_events(folder: Path, add: Callable[[Mapping[str, Any]], None]) -> None:
    """Call `add` with each parsed line of the log of the run in `folder`, except lines that are not JSON.

    Raises MasscliError if there is no log, or if `add` raises one of the errors of a malformed event.
    """
    path = folder / "log.jsonl"
    # A folder or a pipe is named by read_regular_text.
    if not path.exists():
        hint = "name folders of runs, or a log of scores"
        if folder.is_file():
            raise MasscliError(f"{folder}: is a file, not the folder of a run", hint)
        if any(folder.glob("*/log.jsonl")):
            hint = f"it is a folder of runs: name them, as masscli report {folder}/*"
        raise MasscliError(f"{path}: no such file", broken_link_hint(path) or hint)
    text = read_regular_text(path)
    events = 0
    for number, line in enumerate(text.split("\n"), 1):
        try:
            event = parse_json(line)
        except ValueError:
            # The last line of a run that was killed may be cut off.
            continue
        try:
            add(event)
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            OverflowError,
            ConfigError,
        ):
            raise MasscliError(
                f"{path}:{number}: is not an event of a run",
                "was it changed by hand? delete the line",
            ) from None
        events += 1
    if text and not events:
        raise MasscliError(
            f"{path}: holds no event of a run", "was it replaced by another file?"
        )


@config
class _Updates:
    """The fields of an event `stepped` (updates were made) that the tables of a report are made from."""

    step: int
    seconds: float
    targets: int
    memory: float


@config
class LoggedValidation:
    """The metrics of a validation after update `step`; None stands for a value that is not finite."""

    step: int
    metrics: dict[str, float | None]


def add_event(log: RunLog, event: Mapping[str, Any]) -> None:
    """Add a parsed line of the log to `log`, in place; kinds of events that tables do not need are ignored.

    Raises KeyError, TypeError, ValueError, AttributeError or ConfigError if the line is not a JSON
    object, or if an event that is needed lacks a field or has a wrong one.
    """
    match event.get("event"):
        case "stepped":
            fields = ("step", "seconds", "targets", "memory")
            _add_updates(
                log, from_dict(_Updates, {name: event[name] for name in fields})
            )
        case "evaluated":
            made = from_dict(
                LoggedValidation, {name: event[name] for name in ("step", "metrics")}
            )
            metrics = {}
            for name, value in made.metrics.items():
                # JSON cannot represent numbers that are not finite.
                metrics[name] = math.nan if value is None else value
            log.metrics[made.step] = metrics
        case "saved" if event["best"]:
            log.best_step = int(event["step"])
        case "finished":
            log.seconds = float(event["seconds"])


def _add_updates(log: RunLog, made: _Updates) -> None:
    # A run that was continued logs updates once more that were made after its last checkpoint.
    updates = made.step - log.updates
    if updates > 0 and made.seconds > 0:
        log.update_seconds.append(made.seconds / updates)
        log.target_rates.append(made.targets / made.seconds)
    log.updates = made.step
    log.memory = max(log.memory, made.memory)


def _metric_names(logs: Sequence[RunLog]) -> list[str]:
    """Return the names of all metrics that any validation of the runs has, sorted."""
    names: set[str] = set()
    for log in logs:
        names = names.union(*log.metrics.values())
    return sorted(names)


def overall_metrics(logs: Sequence[RunLog]) -> list[str]:
    """Return the names of metrics of whole runs, such as `loss`, that all of them have in `best_metrics`.

    Those of single streams, tasks and languages, which have names such as `mass-en.loss`, are not among them.
    They are in the order of the first run.
    """
    if not logs:
        return []
    others = [log.best_metrics().keys() for log in logs[1:]]
    return [
        name
        for name in logs[0].best_metrics()
        if "." not in name and all(name in names for names in others)
    ]


def _steps_of_curve(logs: Sequence[RunLog], metric: str) -> list[int]:
    """Return the updates after which any of the runs was validated with this metric, in order."""
    steps = set()
    for log in logs:
        for step, values in log.metrics.items():
            if metric in values:
                steps.add(step)
    return sorted(steps)


def cost_rows(
    logs: Sequence[RunLog], metrics: Sequence[str], curve: str | None
) -> list[list[str]]:
    """Return the cells of a table of runs: the heading, then a row for each run.

    The columns are the name, updates, minutes, speeds (medians over the log), peak memory in GiB, each metric
    in `metrics` at the best checkpoint, and the metric `curve`, if given, at each validation. Raises
    MasscliError if a run lacks one of `metrics`, or if none has `curve`.
    """
    steps: list[int] = []
    if curve is not None:
        steps = _steps_of_curve(logs, curve)
        if not steps:
            known = _metric_names(logs)
            raise MasscliError(
                f"--curve {curve}: no validation has this metric",
                f"there are: {', '.join(known) or 'none'}",
            )
    heading = ["run", "updates", "minutes", "s/update", "targets/s", "GiB", *metrics]
    rows = [heading + [f"{curve}@{step}" for step in steps]]
    for log in logs:
        row = [log.name, str(log.updates), f"{log.seconds / 60:.1f}"]
        speeds = ["", ""]
        # Medians, since validation and the load of the machine make single updates slow.
        if log.update_seconds:
            speeds = [
                f"{statistics.median(log.update_seconds):.2f}",
                f"{statistics.median(log.target_rates):.0f}",
            ]
        row += [*speeds, f"{log.memory:.1f}"]
        row += [metric_text(log.best(metric), ".4g") for metric in metrics]
        for step in steps:
            value = log.metrics.get(step, {}).get(str(curve))
            row.append("" if value is None else metric_text(value, ".4g"))
        rows.append(row)
    return rows
