"""The events that the trainer yields to its caller, and the interface of sinks that record them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from masscli.core.registry import Registry

if TYPE_CHECKING:
    from masscli.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Stepped:
    """Event: some updates were made.

    Losses, counts and shares cover the updates since the last such event, unless a field says
    otherwise.
    """

    step: int
    """Number of updates made since the run began."""
    epoch: int
    """Number of times that the first stream has been read to its end since the run began."""
    losses: Mapping[str, float]
    """Mean losses: `STREAM.TERM` to nats per target."""
    lr: float
    """Learning rate of the last update."""
    grad_norm: float
    """Norm of the gradient of the last update, before clipping."""
    targets: int
    """Number of targets learned from, summed over all streams, terms of their losses, and processes."""
    padding: float
    """Share of padding, from 0 to 1, among the tokens of all processes."""
    seconds: float
    """Duration of these updates, without validations and checkpoints."""
    loss_scale: float
    """Current factor on the loss; always 1 except in fp16."""
    overflows: int
    """Number of updates skipped because of an overflow, since the run began."""
    oom_retries: int
    """Number of updates that were recomputed in smaller pieces for lack of memory, since the run began."""
    memory: float
    """Peak memory in GiB, of the GPU or else of the process in RAM, since the process began."""
    generation_share: float
    """Share of `seconds` in which this process generated text to train on, such as the sources of
    back-translation."""
    objective_metrics: Mapping[str, float]
    """Metrics that objectives compute while training, as `STREAM.METRIC`."""
    warnings: tuple[str, ...]
    """Warnings about `objective_metrics` that look wrong."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Event: after update `step` it was noticed that the machine makes the run slower than need be."""

    step: int
    warning: str


@dataclass(frozen=True, slots=True)
class Sample:
    """The output of the model for one line of a validation set, with its source and reference."""

    task: str
    """The metric that the output belongs to, such as bleu.en-de, or STREAM.rouge for all metrics of ROUGE;
    with the split in front (test.bleu.en-de) if it is not the first one."""
    source: str
    reference: str
    output: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Event: the model was validated; `seconds` is the duration of the validation."""

    step: int
    metrics: Mapping[str, float]
    signatures: Mapping[str, str]
    """How a metric was computed, by its name, for those metrics that have a signature."""
    seconds: float
    samples: tuple[Sample, ...] = ()
    """Outputs for a few lines of each task that generates text; the lines are the same at every
    validation."""
    expected: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By metric, the lowest and the highest value that the recipe expects after this update."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Event: a checkpoint was written; `best` says whether it is the best one so far."""

    step: int
    path: Path
    best: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """Event: the run has ended; `reason` is `done` after its last update."""

    step: int
    reason: str
    seconds: float
    interrupted: int = 0
    """Number of the signal that ended the run; 0 if it ended by itself."""


Event = Stepped | Warned | Evaluated | Saved | Finished


def kind_of_warning(warning: str) -> str:
    """Return a warning of an event up to its first parenthesis, after which numbers vary."""
    return warning.partition(" (")[0]


class Sink(Protocol):
    """The interface of a place that keeps the events of a run, such as TensorBoard."""

    @classmethod
    def open(cls, recipe: Recipe) -> Sink:
        """Return a new sink for the events of a run. Raises MasscliError if the sink cannot be used."""
        ...

    def write(self, event: Event) -> None:
        """Record an event."""
        ...

    def close(self) -> None:
        """Write out what is still buffered; no event follows."""
        ...


EVENT_SINKS: Registry[type[Sink]] = Registry("event sink")
"""The classes of sinks by name; packages add theirs as entry points of the group `masscli.event_sinks`."""
