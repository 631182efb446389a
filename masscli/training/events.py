"""Events that the trainer yields to whoever drives it, and the interface of what keeps them."""

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
    """Event: some updates were made. Values are of the updates since the last such event, unless noted.

    Values are of the updates since the last such event, unless they say otherwise.
    """

    step: int
    """Updates made since the run began."""
    epoch: int
    losses: Mapping[str, float]
    """`STREAM.TERM` to nats per target."""
    lr: float
    grad_norm: float
    """Norm of the gradient of the last update, before clipping."""
    targets: int
    """Targets learned from."""
    padding: float
    """Share of the tokens that were padding."""
    seconds: float
    loss_scale: float
    overflows: int
    """Updates skipped because of an overflow, since the run began."""
    oom_retries: int
    """Updates that were repeated in smaller pieces for lack of memory, since the run began."""
    memory: float
    """Peak memory of the process in GiB (of the GPU where there is one)."""
    generation_share: float
    """Share of the seconds in which the model generated the sources of back-translation."""
    objective_metrics: Mapping[str, float]
    """`STREAM.METRIC`: what objectives measure of their own work."""
    warnings: tuple[str, ...]
    """What a user should know of these metrics."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the model made of one line of a validation set."""

    task: str
    """The metric that the line belongs to, such as bleu.en-de."""
    source: str
    reference: str
    output: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Event: the model was validated."""

    step: int
    metrics: Mapping[str, float]
    signatures: Mapping[str, str]
    """How a metric was computed, for those that have a signature."""
    seconds: float
    samples: tuple[Sample, ...] = ()
    """Outputs for a few lines, the same ones at every validation."""
    expected: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """For a metric, the lowest and the highest value that the recipe expects by now."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Event: a checkpoint was written."""

    step: int
    path: Path
    best: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """Event: the run has ended."""

    step: int
    reason: str
    seconds: float
    interrupted: int = 0
    """Number of the signal that ended the run; 0 if it ended by itself."""


Event = Stepped | Evaluated | Saved | Finished


class Sink(Protocol):
    """A place that keeps the events of a run, such as TensorBoard."""

    @classmethod
    def open(cls, recipe: Recipe) -> Sink:
        """Return the place for the events of a run. Raises MasscliError if it cannot be had."""
        ...

    def write(self, event: Event) -> None:
        """Keep an event."""
        ...

    def close(self) -> None:
        """Write what is still buffered."""
        ...


EVENT_SINKS: Registry[type[Sink]] = Registry("event sink")
"""Every kind of sink by its name; packages add theirs as entry points of the group `masscli.event_sinks`."""
