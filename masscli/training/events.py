"""What the loop tells whoever drives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stepped:
    """Some updates were made; figures are of the updates since the last such event.

    losses: `STREAM.TERM` to nats per target; targets: how many; padding: share of the tokens read that were padding; seconds: of them.
    """

    step: int
    epoch: int
    losses: Mapping[str, float]
    lr: float
    grad_norm: float
    targets: int
    padding: float
    seconds: float
    loss_scale: float
    overflows: int
    splits: int
    memory: float
    """Peak memory of the process in GiB (of the GPU where there is one)."""
    searching: float
    """Share of the seconds in which the model was searched: back-translation's generating."""
    figures: Mapping[str, float]
    """`STREAM.FIGURE`: what objectives say of their work."""
    concerns: tuple[str, ...]
    """What in these a user should know of."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The model was validated."""

    step: int
    metrics: Mapping[str, float]
    signatures: Mapping[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint was written."""

    step: int
    path: Path
    best: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over, and why."""

    step: int
    reason: str
    seconds: float
    interrupted: int = 0
    """The signal that ended it, 0 when it ended by itself."""


Event = Stepped | Evaluated | Saved | Finished
