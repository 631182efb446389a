"""Tables that compare training runs by their `log.jsonl`: what each cost, and what metrics it reached."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masscli.core.config import ConfigError, config, from_dict
from masscli.core.errors import MasscliError
from masscli.text.corpus import read_text


@dataclass(slots=True)
class RunLog:
    """The contents of a run's log that tables need."""

    name: str
    """Name of the run's folder."""
    updates: int = 0
    seconds: float = 0.0
    """Time of training in all sessions."""
    memory: float = 0.0
    """Peak memory in GiB."""
    update_seconds: list[float] = field(default_factory=list)
    """Seconds of an update, once for each line of the log."""
    target_rates: list[float] = field(default_factory=list)
    """Targets per second, once for each line of the log."""
    metrics: dict[int, Mapping[str, float]] = field(default_factory=dict)
    """Metrics of each validation, by update."""
    best_step: int | None = None
    """Update of the best checkpoint."""

    def best(self, metric: str) -> float:
        """Return a metric of the best checkpoint, or of the last validation if none is marked as best.

        Raises MasscliError if the run has no such metric.
        """
        step = self.best_step
        if step not in self.metrics:
            step = max(self.metrics, default=None)
        if step is None or metric not in self.metrics[step]:
            known = sorted({name for values in self.metrics.values() for name in values})
            raise MasscliError(
                f"{self.name}: its log has no metric {metric!r}", f"it has: {', '.join(known) or 'none'}"
            )
        return self.metrics[step][metric]


def read_run(folder: Path) -> RunLog:
    """Read the log of a run. Raises MasscliError if there is none."""
    log = RunLog(folder.name)
    read_events(folder, lambda event: _add_event(log, event))
    return log


def read_events(folder: Path, add: Callable[[Mapping[str, Any]], None]) -> None:
    """Call `add` for each event in the log of a run.

    Raises MasscliError if there is no log, or if `add` fails because a line is not an event.
    """
    path = folder / "log.jsonl"
    if not path.is_file():
        raise MasscliError(f"{path}: no such file", "name folders of runs, or a log of scores")
    for number, line in enumerate(read_text(path).split("\n"), 1):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            # The last line of a run that was killed may be cut off.
            continue
        try:
            add(event)
        except (KeyError, TypeError, ValueError, AttributeError, ConfigError):
            raise MasscliError(
                f"{path}:{number}: is not an event of a run", "was it changed by hand? delete the line"
            ) from None


@config
class _Updates:
    """The fields of an event `stepped` (updates were made) that the tables of a report are made from."""

    step: int
    seconds: float
    targets: int
    memory: float


@config
class _Validation:
    """What tables need of a validation. A metric that is not finite is None in the log."""

    step: int
    metrics: dict[str, float | None]


def _add_event(log: RunLog, event: Mapping[str, Any]) -> None:
    """Add an event to the log. Raises any of several errors if it is none."""
    match event.get("event"):
        case "stepped":
            fields = ("step", "seconds", "targets", "memory")
            _add_updates(log, from_dict(_Updates, {name: event[name] for name in fields}))
        case "evaluated":
            made = from_dict(_Validation, {name: event[name] for name in ("step", "metrics")})
            log.metrics[made.step] = {
                name: math.nan if value is None else value for name, value in made.metrics.items()
            }
        case "saved" if event["best"]:
            log.best_step = int(event["step"])
        case "finished":
            log.seconds = float(event["seconds"])


def _add_updates(log: RunLog, made: _Updates) -> None:
    updates = made.step - log.updates
    if updates > 0 and made.seconds > 0:
        log.update_seconds.append(made.seconds / updates)
        log.target_rates.append(made.targets / made.seconds)
    log.updates = made.step
    log.memory = max(log.memory, made.memory)


def cost_rows(logs: Sequence[RunLog], metrics: Sequence[str], curve: str | None) -> list[list[str]]:
    """Return the rows of a table: the heading, then a row for each run.

    Speeds are medians over the log. The last columns are metrics of the best checkpoint, and for the metric
    `curve` its value at each validation.
    """
    steps: list[int] = []
    if curve is not None:
        steps = sorted({step for log in logs for step, values in log.metrics.items() if curve in values})
    heading = ["run", "updates", "minutes", "s/update", "targets/s", "GiB", *metrics]
    rows = [heading + [f"{curve}@{step}" for step in steps]]
    for log in logs:
        row = [log.name, str(log.updates), f"{log.seconds / 60:.1f}"]
        row.append(f"{statistics.median(log.update_seconds):.2f}" if log.update_seconds else "")
        row.append(f"{statistics.median(log.target_rates):.0f}" if log.target_rates else "")
        row.append(f"{log.memory:.1f}")
        row += [f"{log.best(metric):.4g}" for metric in metrics]
        for step in steps:
            value = log.metrics.get(step, {}).get(str(curve))
            row.append("" if value is None else f"{value:.4g}")
        rows.append(row)
    return rows
