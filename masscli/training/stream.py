"""A training stream: a dataset with an objective, and how its examples become batches."""

from __future__ import annotations

from dataclasses import dataclass

from masscli.core.schedule import Schedule
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sampler import BatchSampler
from masscli.objectives.objective import Objective


@dataclass(frozen=True)
class Stream:
    """A training stream of a run: one source of examples, its objective, and how its batches are made."""

    name: str
    objective: Objective
    batch_builder: BatchBuilder
    sampler: BatchSampler
    sampling_weight: float
    """How often micro-batches are drawn from this stream, relative to the weights of the other streams."""
    loss_weight: Schedule
    """Factor on the loss of the stream, as a function of the number of updates made."""
