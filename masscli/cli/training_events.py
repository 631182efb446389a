"""Show the events of a training run, and keep them in `log.jsonl` and for TensorBoard."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from masscli.core.errors import MasscliError
from masscli.core.files import read_regular
from masscli.text.corpus import decode_text

if TYPE_CHECKING:
    from masscli.training.events import Event, Finished, Stepped


class Sink(Protocol):
    """A place that keeps events."""

    def write(self, event: Event) -> None:
        """Keep an event."""
        ...

    def close(self) -> None:
        """Write what is still buffered."""
        ...


class LogFile:
    """`log.jsonl` of a run.

    Each line is an object with `event`, `time` (Unix seconds) and the fields of the event. NaN and infinity
    are written as null. A run that goes on from update `step` makes the later updates again, so their lines
    are dropped first.
    """

    def __init__(self, path: Path, step: int) -> None:
        from masscli.core.files import write_atomic

        kept = "".join(_lines_up_to(path, step))
        write_atomic(path, kept.encode())
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, event: Event) -> None:
        """Append an event to the file as one line of JSON."""
        fields = {"event": _event_name(event), "time": round(time.time(), 3), **asdict(event)}
        self._file.write(json.dumps(_to_json(fields)) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """Curves for TensorBoard: the numbers of `log.jsonl` under the same names."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MasscliError(
                "--tensorboard-logdir needs TensorBoard", "pip install 'masscli[tb]'"
            ) from None
        self._writer = SummaryWriter(str(folder))

    def write(self, event: Event) -> None:
        """Add the numbers of an event to the curves."""
        for name, value in _numbers(asdict(event)):
            self._writer.add_scalar(f"{_event_name(event)}/{name}", value, event.step)

    def close(self) -> None:
        """Write what is still buffered."""
        self._writer.close()


class Warnings:
    """Warnings of a run, each shown once until it stops and comes back.

    The part of a warning in parentheses holds numbers that change from one event to the next.
    """

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def new(self, warnings: Sequence[str]) -> list[str]:
        """Return the warnings in `warnings` that were not there at the previous call."""
        present = {text.partition(" (")[0]: text for text in warnings}
        new = [text for key, text in present.items() if key not in self._shown]
        self._shown = set(present)
        return new


def follow(
    events: Iterable[Event], sinks: Sequence[Sink], start: int, last: int | None, console: Console
) -> Finished:
    """Show and keep events until the run is finished, and return its end.

    `start` is the update that the run begins at, and `last` the one that it ends with, if that is known.
    Processes other than the first have a silent console and no sinks.
    """
    from masscli.training.events import Evaluated, Finished, Saved, Stepped

    warnings = Warnings()
    with _progress_bar(console) as progress:
        task = progress.add_task("", total=last, completed=start, text="")
        for event in events:
            for sink in sinks:
                sink.write(event)
            match event:
                case Stepped():
                    progress.update(task, completed=event.step, text=_format_speed(event))
                    _print(progress, _format_step(event))
                    for text in warnings.new(event.warnings):
                        progress.console.print(
                            f"warning: {text}", highlight=False, markup=False, style="yellow"
                        )
                case Evaluated():
                    metrics = "  ".join(
                        f"{name} {value:.4g}" for name, value in _without_repeats(event.metrics).items()
                    )
                    _print(progress, f"valid {event.step}: {metrics}  ({event.seconds:.0f} s)")
                case Saved():
                    best = " (best)" if event.best else ""
                    _print(progress, f"saved {event.path}{best}")
                case Finished():
                    return event
    raise AssertionError("a run ends with Finished")


def _progress_bar(console: Console) -> Progress:
    columns = (
        TextColumn("[bold]update"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    is_hidden = console.quiet or not console.is_terminal
    return Progress(*columns, console=console, disable=is_hidden, transient=True)


def _print(progress: Progress, line: str) -> None:
    progress.console.print(line, highlight=False)


def _format_step(event: Stepped) -> str:
    """Return the line that the console shows for a `Stepped` event."""
    losses = "  ".join(f"{name} {value:.3f}" for name, value in event.losses.items())
    parts = [
        f"{event.step}: {losses}",
        f"lr {event.lr:.2e}",
        f"gnorm {event.grad_norm:.2f}",
        _format_speed(event),
        f"{event.memory:.1f} GiB",
    ]
    # Several streams have the same figure; their values are shown side by side.
    by_name: dict[str, list[str]] = {}
    for name, value in event.objective_metrics.items():
        by_name.setdefault(name.rpartition(".")[2], []).append(f"{value:.2f}")
    parts += [f"{name} {'/'.join(values)}" for name, values in by_name.items()]
    if event.generation_share >= 0.01:
        parts.append(f"generating {event.generation_share:.0%}")
    if event.overflows:
        parts.append(f"{event.overflows} overflows (scale {event.loss_scale:g})")
    if event.oom_retries:
        parts.append(f"{event.oom_retries} updates split for want of memory")
    return "  ".join(parts)


def _format_speed(event: Stepped) -> str:
    return f"{event.targets / max(event.seconds, 1e-9):,.0f} targets/s"


def _without_repeats(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics without those that repeat the value of a more general one.

    With one stream, `loss` and `STREAM.loss` are the same number. The log has both.
    """
    kept = {}
    for name, value in metrics.items():
        parts = set(name.split("."))
        # Such as `loss`, whose name is a part of `mass.loss`.
        repeats = [other for other in metrics if other != name and other in parts]
        if all(metrics[other] != value for other in repeats):
            kept[name] = value
    return kept


def _lines_up_to(path: Path, step: int) -> Iterator[str]:
    """Yield the lines of a log whose events are not later than update `step`."""
    if not path.exists():
        return
    for line in decode_text(read_regular(path), path).split("\n"):
        try:
            if line and json.loads(line)["step"] <= step:
                yield line + "\n"
        # A kill may have cut a line short.
        except (ValueError, RecursionError, KeyError, TypeError):
            continue


def _event_name(event: Event) -> str:
    return type(event).__name__.lower()


def _numbers(fields: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers in an event, and in the tables in it, by name."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _numbers(value)
        elif isinstance(value, int | float) and name != "step":
            yield name, float(value)


def _to_json(value: Any) -> Any:
    """Return a value in a form that JSON has."""
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value
