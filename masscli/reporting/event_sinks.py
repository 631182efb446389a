"""Event sinks, which record the events of a training run: `log.jsonl`, TensorBoard, Weights & Biases."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from masscli.core.atomic_files import naming_full_file, write_atomic
from masscli.core.config import to_dict
from masscli.core.errors import MasscliError, cannot_be_written
from masscli.core.json_text import parse_json
from masscli.text.corpus import read_regular_text
from masscli.training.events import EVENT_SINKS, Event, Sink
from masscli.training.recipe import Recipe


class LogFile:
    """An event sink that writes the file `log.jsonl` of a run.

    Each line is a JSON object with `event`, `time` (Unix seconds) and the fields of the event. NaN and
    infinity are written as null. When an existing log is opened, lines of updates after `step` are removed,
    since a run that continues from update `step` makes those updates again, and so are broken lines.
    """

    def __init__(self, path: Path, step: int) -> None:
        # The whole file is replaced, so that a kill leaves either the old log or the shortened one.
        kept = "".join(_lines_up_to(path, step))
        write_atomic(path, kept.encode())
        # Line-buffered, so that a log that is read during training has whole lines.
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._path = path

    def write(self, event: Event) -> None:
        """Append an event to the file as one line of JSON."""
        fields = {
            "event": _event_name(event),
            "time": round(time.time(), 3),
            **asdict(event),
        }
        with naming_full_file(self._path):
            self._file.write(json.dumps(_to_json(fields)) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """An event sink that writes the numbers of all events to TensorBoard, as curves over the updates."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MasscliError(
                "--tensorboard-logdir needs TensorBoard", "pip install 'masscli[tb]'"
            ) from None
        try:
            self._writer = SummaryWriter(str(folder))
        except OSError as error:
            raise cannot_be_written(
                f"--tensorboard-logdir {folder}", error, "name another folder"
            ) from None

    @classmethod
    def open(cls, recipe: Recipe) -> TensorBoard:
        """Open the sink of a run, in the folder of --tensorboard-logdir or else `tensorboard` in the run.

        Raises MasscliError if TensorBoard is not installed, or if the folder cannot be written.
        """
        assert recipe.save_dir is not None
        return cls(recipe.train.tensorboard_logdir or recipe.save_dir / "tensorboard")

    def write(self, event: Event) -> None:
        """Add each number of an event to its curve, at the update of the event."""
        for name, value in numbers(event).items():
            self._writer.add_scalar(name, value, event.step)

    def close(self) -> None:
        """Write buffered numbers, and close the files."""
        self._writer.close()


class WeightsAndBiases:
    """An event sink that sends the numbers of all events to Weights & Biases, as curves over the updates."""

    def __init__(self, recipe: Recipe) -> None:
        try:
            import wandb
        except ImportError:
            raise MasscliError(
                "--wandb-project needs Weights & Biases", "pip install 'masscli[wandb]'"
            ) from None
        assert recipe.save_dir is not None
        self._run = wandb.init(
            project=recipe.train.wandb_project,
            # A continued run extends its existing curves.
            id=_wandb_id(recipe.save_dir),
            name=recipe.save_dir.resolve().name,
            dir=str(recipe.save_dir),
            config=to_dict(recipe),
            resume="allow",
        )

    @classmethod
    def open(cls, recipe: Recipe) -> WeightsAndBiases:
        """Open the sink of a run: begin a W&B run in the project of --wandb-project, or resume the folder's.

        The run folder holds the id of its W&B run in `wandb_id.txt`. Raises MasscliError if wandb is not
        installed.
        """
        return cls(recipe)

    def write(self, event: Event) -> None:
        """Send each number of an event, at the update of the event."""
        self._run.log(numbers(event), step=event.step)

    def close(self) -> None:
        """Send buffered numbers, and end the W&B run."""
        self._run.finish()


class EventRecorder:
    """Passes the events of a run to its event sinks, which `stack` closes.

    A sink that raises an error gets no more events. The first such error is kept in `failure`, so that the
    run can be saved before it is raised.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.failure: Exception | None = None
        self._stack = stack
        self._sinks: list[LogFile | Sink] = []
        """The sinks that have not failed."""

    def open_sinks(self, recipe: Recipe, step: int) -> None:
        """Open the event sinks of a run that starts or continues at update `step`.

        They are those that the recipe chooses, and `log.jsonl` as the last one. Raises MasscliError if a sink
        cannot be opened, such as for a missing package; the log is then not touched.
        """
        assert recipe.save_dir is not None
        train = recipe.train
        names = list(train.event_sinks)
        # These two have flags of their own, as in fairseq.
        if train.tensorboard_logdir is not None:
            names.append("tensorboard")
        if train.wandb_project is not None:
            names.append("wandb")
        for name in dict.fromkeys(names):
            self._add(EVENT_SINKS.load(name).open(recipe))
        # Opened last, because opening it shortens the log of a continued run.
        self._add(LogFile(recipe.save_dir / "log.jsonl", step))

    def write(self, event: Event) -> None:
        """Pass an event to the sinks; an error of a sink is only recorded."""
        for sink in list(self._sinks):
            try:
                sink.write(event)
            except Exception as error:
                self._sinks.remove(sink)
                self.failure = self.failure or error

    def _add(self, sink: LogFile | Sink) -> None:
        self._sinks.append(sink)
        self._stack.callback(self._close, sink)

    def _close(self, sink: LogFile | Sink) -> None:
        """Close a sink. If it has failed before, another error of it is ignored: it has the same cause."""
        try:
            sink.close()
        except Exception:
            if sink in self._sinks:
                raise


def _wandb_id(folder: Path) -> str:
    """Return the id of the W&B run of a run folder; a folder without one is given a random one."""
    path = folder / "wandb_id.txt"
    if not path.exists():
        write_atomic(path, uuid.uuid4().hex.encode())
    return read_regular_text(path).strip()


def numbers(event: Event) -> dict[str, float]:
    """Return all numbers of an event except its update, also those in nested mappings, by `EVENT/NAME`.

    Truth values become 0 and 1. Numbers in lists, and texts, are left out.
    """
    kind = _event_name(event)
    # The part before the slash groups the curves in TensorBoard and W&B.
    return {f"{kind}/{name}": value for name, value in _numbers(asdict(event))}


def _lines_up_to(path: Path, step: int) -> Iterator[str]:
    """Yield the lines of a log, with line ends, whose update is at most `step`.

    Incomplete lines are left out, and a file that does not exist has no lines.
    """
    if not path.exists():
        return
    for line in read_regular_text(path).split("\n"):
        try:
            if line and parse_json(line)["step"] <= step:
                yield line + "\n"
        # A kill may have cut a line short.
        except (ValueError, KeyError, TypeError):
            continue


def _event_name(event: Event) -> str:
    return type(event).__name__.lower()


def _numbers(fields: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield (name, value) of each number in the fields of an event and in nested mappings, except `step`."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _numbers(value)
        elif isinstance(value, int | float) and name != "step":
            yield name, float(value)


def _to_json(value: Any) -> Any:
    """Return a value that JSON can hold: NaN and infinity become None, and paths strings.

    This is done in nested mappings, too, but not in lists.
    """
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    # JSON cannot represent these, and other readers refuse Python's notation.
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value
