"""Places that keep the events of a training run: `log.jsonl`, TensorBoard and Weights & Biases."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from masscli.core.config import to_dict
from masscli.core.errors import MasscliError
from masscli.core.files import read_regular, write_atomic
from masscli.text.corpus import decode_text
from masscli.training.events import EVENT_SINKS, Event, Sink
from masscli.training.recipe import Recipe


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

    @classmethod
    def open(cls, recipe: Recipe) -> TensorBoard:
        """Write into the folder of --tensorboard-logdir, or else into the folder of the run."""
        assert recipe.save_dir is not None
        return cls(recipe.train.tensorboard_logdir or recipe.save_dir / "tensorboard")

    def write(self, event: Event) -> None:
        """Add the numbers of an event to the curves."""
        for name, value in numbers(event).items():
            self._writer.add_scalar(name, value, event.step)

    def close(self) -> None:
        """Write what is still buffered."""
        self._writer.close()


class WeightsAndBiases:
    """Curves for Weights & Biases: the numbers of `log.jsonl` under the same names."""

    def __init__(self, recipe: Recipe) -> None:
        try:
            import wandb
        except ImportError:
            raise MasscliError(
                "--wandb-project needs Weights & Biases", "pip install 'masscli[wandb]'"
            ) from None
        assert recipe.save_dir is not None
        # A run that goes on has the same name, under which its curves go on as well.
        name = recipe.save_dir.resolve().name
        self._run = wandb.init(
            project=recipe.train.wandb_project,
            name=name,
            dir=str(recipe.save_dir),
            config=to_dict(recipe),
            resume="allow",
        )

    @classmethod
    def open(cls, recipe: Recipe) -> WeightsAndBiases:
        """Begin a run in the project of --wandb-project."""
        return cls(recipe)

    def write(self, event: Event) -> None:
        """Send the numbers of an event."""
        self._run.log(numbers(event), step=event.step)

    def close(self) -> None:
        """Send what is still buffered."""
        self._run.finish()


def open_sinks(recipe: Recipe, step: int, stack: ExitStack) -> list[LogFile | Sink]:
    """Return what keeps the events of a run that goes on from update `step`: its log and what it names.

    `stack` closes them. Raises MasscliError, before anything is written, if one of them cannot be had.
    """
    assert recipe.save_dir is not None
    train = recipe.train
    names = list(train.event_sinks)
    # These two have flags of their own, as in fairseq.
    if train.tensorboard_logdir is not None:
        names.append("tensorboard")
    if train.wandb_project is not None:
        names.append("wandb")
    sinks: list[LogFile | Sink] = []
    for name in dict.fromkeys(names):
        sinks.append(EVENT_SINKS.load(name).open(recipe))
        stack.callback(sinks[-1].close)
    sinks.append(LogFile(recipe.save_dir / "log.jsonl", step))
    stack.callback(sinks[-1].close)
    return sinks


def numbers(event: Event) -> dict[str, float]:
    """Return the numbers in an event, and in the tables in it, by `EVENT/NAME`."""
    kind = _event_name(event)
    return {f"{kind}/{name}": value for name, value in _numbers(asdict(event))}


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
