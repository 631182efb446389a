"""Events of a training run to people and to files: a line on stderr, a bar on a terminal, `log.jsonl` always, TensorBoard if asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from masscli.core.errors import MasscliError

if TYPE_CHECKING:
    from masscli.training.events import Event, Finished, Stepped


class Sink(Protocol):
    """Something that keeps events."""

    def write(self, event: Event) -> None: ...
    def close(self) -> None: ...


class Log:
    """`log.jsonl` of a run: one object a line with `event`, `time` (Unix) and the event's fields; NaN is null.

    Lines after the update that a run is continued from are dropped first: those updates will be made again.
    """

    def __init__(self, path: Path, step: int) -> None:
        from masscli.core.files import write_atomic

        kept = []
        if path.exists():
            for line in path.read_text(encoding="utf-8").split("\n"):
                try:
                    if line and json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
                except (json.JSONDecodeError, KeyError):
                    continue  # the line that a kill cut short
        write_atomic(path, "".join(kept).encode())
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, event: Event) -> None:
        """Append an event."""
        fields = {"event": type(event).__name__.lower(), "time": round(time.time(), 3), **asdict(event)}
        self._file.write(json.dumps(_plain(fields)) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Board:
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
        """Add the figures of an event."""
        for name, value in _figures(asdict(event)):
            self._writer.add_scalar(f"{type(event).__name__.lower()}/{name}", value, event.step)

    def close(self) -> None:
        """Write what is still held back."""
        self._writer.close()


def _figures(fields: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _figures(value)
        elif isinstance(value, int | float) and name != "step":
            yield name, float(value)


def follow(
    events: Iterable[Event], sinks: Sequence[Sink], start: int, last: int | None, console: Console
) -> Finished:
    """Show and keep events until the run is finished.  Processes other than the first have a silent console and no sinks."""
    from masscli.training.events import Evaluated, Finished, Saved, Stepped

    columns = (
        TextColumn("[bold]update"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(
        *columns, console=console, disable=console.quiet or not console.is_terminal, transient=True
    ) as progress:
        task = progress.add_task("", total=last, completed=start, text="")
        told: set[str] = set()
        for event in events:
            for sink in sinks:
                sink.write(event)
            match event:
                case Stepped():
                    progress.update(task, completed=event.step, text=_rate(event))
                    progress.console.print(_line(event), highlight=False)
                    concerns = {text.partition(" (")[0]: text for text in event.concerns}
                    for what, text in concerns.items():
                        if what not in told:
                            progress.console.print(
                                f"warning: {text}", highlight=False, markup=False, style="yellow"
                            )
                    told = set(concerns)  # what has gone is told again when it comes back
                case Evaluated():
                    figures = "  ".join(f"{k} {v:.4g}" for k, v in _briefly(event.metrics).items())
                    progress.console.print(
                        f"valid {event.step}: {figures}  ({event.seconds:.0f} s)", highlight=False
                    )
                case Saved():
                    progress.console.print(
                        f"saved {event.path}{' (best)' if event.best else ''}", highlight=False
                    )
                case Finished():
                    return event
    raise AssertionError("a run ends with Finished")


def _briefly(metrics: Mapping[str, float]) -> Mapping[str, float]:
    """Without what says a number again: that of the only stream, or of the only direction (the log has them all)."""
    parts = {name: {*name.split(".")} for name in metrics}
    return {
        n: v
        for n, v in metrics.items()
        if not any(m != n and m in parts[n] and metrics[m] == v for m in metrics)
    }


def _rate(event: Stepped) -> str:
    return f"{event.targets / max(event.seconds, 1e-9):,.0f} targets/s"


def _line(event: Stepped) -> str:
    losses = "  ".join(f"{k} {v:.3f}" for k, v in event.losses.items())
    parts = [
        f"{event.step}: {losses}",
        f"lr {event.lr:.2e}",
        f"gnorm {event.grad_norm:.2f}",
        _rate(event),
        f"{event.memory:.1f} GiB",
    ]
    by_name: dict[str, list[float]] = {}  # of each stream, in their order
    for name, value in event.figures.items():
        by_name.setdefault(name.rpartition(".")[2], []).append(value)
    parts += [f"{name} {'/'.join(f'{value:.2f}' for value in values)}" for name, values in by_name.items()]
    if event.searching >= 0.01:
        parts.append(f"generating {event.searching:.0%}")
    if event.overflows:
        parts.append(f"{event.overflows} overflows (scale {event.loss_scale:g})")
    if event.splits:
        parts.append(f"{event.splits} updates split for want of memory")
    return "  ".join(parts)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return str(value) if isinstance(value, Path) else value
