"""Show the events of a training run on the console."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from masscli.core.listing import count_of
from masscli.metrics.perplexity import metric_text
from masscli.training.events import (
    Evaluated,
    Event,
    Finished,
    Saved,
    Stepped,
    Warned,
    kind_of_warning,
)


class Warnings:
    """Filters the warnings of a run: one that persists from event to event is shown only once.

    Warnings are the same if their texts are equal up to the first parenthesis, which holds changing numbers.
    """

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def new(self, warnings: Sequence[str]) -> list[str]:
        """Return the warnings in `warnings` that were not among those of the previous call."""
        present = {kind_of_warning(text): text for text in warnings}
        new = [text for key, text in present.items() if key not in self._shown]
        # A warning that was absent for a while is shown again when it comes back.
        self._shown = set(present)
        return new


def follow(
    events: Iterable[Event], start: int, last: int | None, console: Console
) -> Finished:
    """Show events on the console, with a progress bar on a terminal, until `Finished`, and return that event.

    `start` is the number of updates that were made before, and `last` the number to end with, if it is known.
    """
    warnings = Warnings()
    began = time.monotonic()
    with _progress_bar(console) as progress:
        task = progress.add_task("", total=last, completed=start, text="")
        for event in events:
            match event:
                case Stepped():
                    progress.update(
                        task, completed=event.step, text=_format_speed(event)
                    )
                    seconds = time.monotonic() - began
                    _print(
                        progress,
                        _format_step(
                            event, _seconds_left(event.step, start, last, seconds)
                        ),
                    )
                    _print_warnings(progress, warnings.new(event.warnings))
                case Warned():
                    _print_warnings(progress, [event.warning])
                case Evaluated():
                    _print(progress, _format_validation(event))
                    for line in _compare_with_expected(event):
                        _print(progress, line)
                case Saved():
                    best = " (best)" if event.best else ""
                    _print(progress, f"saved {event.path}{best}")
                case Finished():
                    return event
    raise AssertionError("a run ends with Finished")


def _format_validation(event: Evaluated) -> str:
    """Return the line that the console shows for a validation: update, metrics and seconds."""
    shown = []
    for name, value in _without_repeats(event.metrics).items():
        shown.append(f"{name} {metric_text(value, '.4g')}")
    return f"valid {event.step}: {'  '.join(shown)}  ({event.seconds:.0f} s)"


def _compare_with_expected(event: Evaluated) -> Iterator[str]:
    """Yield a line for each metric that has an expected range at this update: inside, above or below it.

    The ranges are those in `event.expected`, which earlier runs of the recipe had.
    """
    for name, (low, high) in event.expected.items():
        value = event.metrics[name]
        band = f"{low:.4g} to {high:.4g}, which earlier runs of this recipe had at update {event.step}"
        if low <= value <= high:
            yield f"{name} {value:.4g} is inside {band}"
        elif value < low:
            yield f"warning: {name} {value:.4g} is below {band}"
        else:
            yield f"warning: {name} {value:.4g} is above {band}"


def _seconds_left(
    step: int, start: int, last: int | None, seconds: float
) -> float | None:
    """Estimate the seconds from update `step` to update `last`; `seconds` have passed since update `start`.

    The average time of an update so far is taken, with validations and checkpoints. The result is None if
    `last` is not known, or after fewer than two updates.
    """
    # The first update is slower than the others: memory is allocated and kernels are chosen.
    if last is None or step - start < 2:
        return None
    return (last - step) * seconds / (step - start)


def _progress_bar(console: Console) -> Progress:
    columns = (
        TextColumn("[bold]update"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    # In a log file the redrawn bar would be thousands of lines.
    is_hidden = console.quiet or not console.is_terminal
    return Progress(*columns, console=console, disable=is_hidden, transient=True)


def _print(progress: Progress, line: str) -> None:
    progress.console.print(line, highlight=False)


def _print_warnings(progress: Progress, texts: Sequence[str]) -> None:
    for text in texts:
        progress.console.print(
            f"warning: {text}", highlight=False, markup=False, style="yellow"
        )


def _format_step(event: Stepped, remaining: float | None) -> str:
    """Return the line that the console shows for a `Stepped` event: update, losses, speed, memory and more.

    `remaining` are the expected seconds to the end of the run; None if they cannot be told.
    """
    losses = "  ".join(f"{name} {value:.3f}" for name, value in event.losses.items())
    parts = [
        f"{event.step}: {losses}",
        f"lr {event.lr:.2e}",
        f"gnorm {event.grad_norm:.2f}",
        _format_speed(event),
        f"{event.memory:.1f} GiB",
    ]
    if remaining is not None:
        parts.append(f"{_format_duration(remaining)} left")
    # Several streams have the same figure; their values are shown side by side.
    by_name: dict[str, list[str]] = {}
    for name, value in event.objective_metrics.items():
        by_name.setdefault(name.rpartition(".")[2], []).append(f"{value:.2f}")
    parts += [f"{name} {'/'.join(values)}" for name, values in by_name.items()]

    # What is zero, or as good as zero, is left out: most runs have none of it.
    if event.generation_share >= 0.01:
        parts.append(f"generating {event.generation_share:.0%}")
    if event.overflows:
        parts.append(
            f"{count_of(event.overflows, 'overflow')} (scale {event.loss_scale:g})"
        )
    if event.oom_retries:
        parts.append(
            f"{count_of(event.oom_retries, 'update')} split for lack of memory"
        )
    return "  ".join(parts)


def _format_duration(seconds: float) -> str:
    """Return a duration as text: `50 s` below 100 seconds, else `7 min`, `3 h 5 min` or `2 d 4 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min"


def _format_speed(event: Stepped) -> str:
    # The clock may not have moved on between two events of a tiny model.
    return f"{event.targets / max(event.seconds, 1e-9):,.0f} targets/s"


def _without_repeats(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics without those that repeat the value of a more general one.

    With one stream, `loss` and `STREAM.loss` are the same number. The log has both.
    """
    kept = {}
    for name, value in metrics.items():
        parts = set(name.split("."))
        # Such as `loss`, whose name is a part of `mass.loss`, or `test.loss` of `test.mass.loss`.
        repeats = [other for other in metrics if set(other.split(".")) < parts]
        if all(metrics[other] != value for other in repeats):
            kept[name] = value
    return kept
