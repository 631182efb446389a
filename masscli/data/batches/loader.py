"""Which micro-batch comes when, and the processes that prepare it.

Turn n is a list of U micro-batches, for one update or more.  The stream of each is a pure function of (seed, n, micro); within a stream
micro-batches come in the sampler's order.  Every process plans all of them (integers only) and prepares its own: micro = rank,
rank + world, ...  So neither the number of processes nor that of workers changes what is learned from, and a run can be continued with
other numbers of both.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from masscli.core.rng import example_generator
from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset, Example
from masscli.data.batches.sampler import BatchSampler, Position, Rows


class PlannedBatch(NamedTuple):
    """One micro-batch to be: of turn `turn`, the `micro`-th of it, these rows of a stream's view in this epoch.  `after` is where
    the stream stands once it is consumed."""

    draw: int
    micro: int
    stream: str
    epoch: int
    numbers: Rows
    next_position: Position


@dataclass(frozen=True)
class BatchBuilder:
    """How one stream's examples become batches."""

    name: str
    dataset: Dataset
    collate: Collator
    seed: int

    def __call__(self, rows: Rows, epoch: int) -> Batch:
        examples: Sequence[Example] = [self.dataset[int(row)] for row in rows]
        rngs: list[np.random.Generator] = [
            example_generator(self.seed, self.name, epoch, e.number) for e in examples
        ]
        return self.collate(examples, rngs)


def plan(
    samplers: Mapping[str, BatchSampler],
    shares: Callable[[int], Mapping[str, float]],
    seed: int,
    update_freq: int,
    turn: int,
    positions: Mapping[str, Position],
) -> Iterator[PlannedBatch]:
    """Jobs from turn `turn` on, without end, from the given positions; `shares` says how often streams are drawn in a turn."""
    names = list(samplers)
    where = {name: positions.get(name, Position()) for name in names}
    while True:
        now = shares(turn)
        share = np.array([now[n] for n in names], np.float64)
        share /= share.sum()
        for micro in range(update_freq):
            rng = np.random.Generator(np.random.Philox(counter=[0, 3, turn, micro], key=[seed, 0]))
            name = names[int(rng.choice(len(names), p=share))] if len(names) > 1 else names[0]
            rows, after = samplers[name].at(where[name])
            where[name] = after
            yield PlannedBatch(turn, micro, name, after.epoch, rows, after)
        turn += 1


class PreparedBatch(NamedTuple):
    """A job and its batch."""

    planned: PlannedBatch
    batch: Batch


class _Jobs(TorchDataset[PreparedBatch]):
    def __init__(self, batch_builders: Mapping[str, BatchBuilder]) -> None:
        self.batch_builders = batch_builders

    def __getitem__(self, job: PlannedBatch) -> PreparedBatch:
        return PreparedBatch(job, self.batch_builders[job.stream](job.numbers, job.epoch))


class _Mine:
    """This process's share of the jobs, as a sampler of a DataLoader."""

    def __init__(self, jobs: Iterator[PlannedBatch], rank: int, world: int, last_draw: int | None) -> None:
        self.jobs, self.rank, self.world, self.last_draw = jobs, rank, world, last_draw

    def __iter__(self) -> Iterator[PlannedBatch]:
        for job in self.jobs:
            if self.last_draw is not None and job.draw > self.last_draw:
                return
            if job.micro % self.world == self.rank:
                yield job


def load(
    batch_builders: Mapping[str, BatchBuilder],
    jobs: Iterator[PlannedBatch],
    *,
    rank: int,
    world: int,
    last_draw: int | None,
    workers: int,
) -> Iterator[PreparedBatch]:
    """Prepare this process's jobs, in order, `workers` processes ahead (0: in this one)."""
    loader: DataLoader[PreparedBatch] = DataLoader(
        _Jobs(batch_builders),
        batch_size=None,
        sampler=_Mine(jobs, rank, world, last_draw),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        collate_fn=_as_it_is,
        worker_init_fn=_leave_signals_to_the_loop,
    )
    return iter(loader)


def _as_it_is(prepared: Any) -> Any:
    return prepared


def _leave_signals_to_the_loop(worker: int) -> None:
    """A Ctrl-C, or a SIGTERM to the whole process group, must not cost the loop its data before it has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
