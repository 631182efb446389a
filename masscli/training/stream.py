"""A stream of a run, made: what is learned, how its examples become batches, and how often they are drawn."""

from __future__ import annotations

from dataclasses import dataclass

from masscli.core.schedule import Schedule
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sampler import BatchSampler
from masscli.objectives.objective import Objective


@dataclass(frozen=True)
class Stream:
    """One source of examples."""

    name: str
    objective: Objective
    batch_builder: BatchBuilder
    sampler: BatchSampler
    share: float
    weight: Schedule
