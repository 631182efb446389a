"""Places that keep the events of a training run: `log.jsonl` and TensorBoard."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from masscli.core.errors import MasscliError
from masscli.core.files import read_regular, write_atomic
from masscli.text.corpus import decode_text
from masscli.training.events import Event


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
