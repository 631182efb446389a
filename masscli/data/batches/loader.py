"""The order of micro-batches over all training streams, and the processes that prepare them.

Draw n is a list of U micro-batches, which serve one update or more. The stream of each is a pure function of
(seed, n, micro), and within a stream micro-batches come in the sampler's order. Every process plans all of
them, since a plan is integers only, and prepares its own: micro = rank, rank + world size, ... So neither the
number of processes nor that of workers changes what is learned from, and a run can be continued with other
numbers of both.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from masscli.core.rng import Purpose, example_generator, make_generator
from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset, Example
from masscli.data.batches.sampler import BatchSampler, Numbers, Position


class PlannedBatch(NamedTuple):
    """A micro-batch that has been planned but not prepared: a stream, and numbers of its examples."""

    draw: int
    """The draw that it belongs to."""
    micro: int
    """Its number within the draw."""
    stream: str
    epoch: int
    numbers: Numbers
    """Its examples, by their number in the stream's dataset."""
    next_position: Position
    """Where the stream stands once this micro-batch is consumed."""


@dataclass(frozen=True)
class BatchBuilder:
    """Makes batches of the examples of one stream, which is called `name`.

    `segment`, if given, splits the token ids of each field of an example into other pieces.
    """

    name: str
    dataset: Dataset
    collate: Collator
    seed: int
    segment: Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.int64]] | None = None

    def __call__(self, numbers: Numbers, epoch: int) -> Batch:
        """Return the batch of these examples, with the noise of this epoch."""
        examples = [self._example(int(number), epoch) for number in numbers]
        rngs = [example_generator(self.seed, self.name, epoch, example.number) for example in examples]
        return self.collate(examples, rngs)

    def _example(self, number: int, epoch: int) -> Example:
        example = self.dataset[number]
        if self.segment is None:
            return example
        # These numbers have a purpose of their own, so that the noise is the same with and without them.
        rng = make_generator(self.seed, Purpose.SEGMENTATION, epoch, number, self.name)
        return Example(example.number, tuple(self.segment(ids, rng) for ids in example.fields))


def plan(
    samplers: Mapping[str, BatchSampler],
    sampling_weights: Callable[[int], Mapping[str, float]],
    seed: int,
    update_freq: int,
    first_draw: int,
    positions: Mapping[str, Position],
) -> Iterator[PlannedBatch]:
    """Plan micro-batches without end, from `first_draw` and the given positions of the streams on.

    `sampling_weights` returns, for a draw, how often each stream is chosen in it; `update_freq` is the number
    of micro-batches in a draw.
    """
    names = list(samplers)
    current = {name: positions.get(name, Position()) for name in names}
    draw = first_draw
    while True:
        # Weights may follow a schedule, so they are asked for at each draw.
        weights = sampling_weights(draw)
        probabilities = np.array([weights[name] for name in names], np.float64)
        probabilities /= probabilities.sum()
        for micro in range(update_freq):
            # The generator belongs to this micro-batch, so that all processes draw the same.
            name = names[0]
            if len(names) > 1:
                rng = make_generator(seed, Purpose.STREAM_CHOICE, draw, micro)
                name = names[int(rng.choice(len(names), p=probabilities))]
            # Every process advances all streams, also for batches that another one prepares.
            numbers, next_position = samplers[name].at(current[name])
            current[name] = next_position
            yield PlannedBatch(draw, micro, name, next_position.epoch, numbers, next_position)
        draw += 1


class PreparedBatch(NamedTuple):
    """A planned micro-batch and its contents."""

    planned: PlannedBatch
    batch: Batch


def load(
    batch_builders: Mapping[str, BatchBuilder],
    planned_batches: Iterator[PlannedBatch],
    *,
    rank: int,
    world: int,
    last_draw: int | None,
    workers: int,
) -> Iterator[PreparedBatch]:
    """Prepare the micro-batches of this process, in order.

    `workers` processes work ahead; with 0 everything happens in this one.
    """
    # PyTorch refuses to prefetch where there are no workers.
    prefetch_factor = 4 if workers else None
    loader: DataLoader[PreparedBatch] = DataLoader(
        _PreparedBatches(batch_builders),
        # Batches come ready-made, so PyTorch neither groups nor collates.
        batch_size=None,
        sampler=_OwnBatches(planned_batches, rank, world, last_draw),
        num_workers=workers,
        prefetch_factor=prefetch_factor,
        collate_fn=_unchanged,
        worker_init_fn=_ignore_signals,
    )
    return iter(loader)


class _PreparedBatches(TorchDataset[PreparedBatch]):
    """A map-style dataset for a DataLoader: it maps the plan of a micro-batch to the batch itself."""

    def __init__(self, batch_builders: Mapping[str, BatchBuilder]) -> None:
        self.batch_builders = batch_builders

    def __getitem__(self, planned: PlannedBatch) -> PreparedBatch:
        build = self.batch_builders[planned.stream]
        return PreparedBatch(planned, build(planned.numbers, planned.epoch))


class _OwnBatches:
    """A sampler for a DataLoader, which yields the planned micro-batches of this process."""

    def __init__(
        self, planned_batches: Iterator[PlannedBatch], rank: int, world: int, last_draw: int | None
    ) -> None:
        self.planned_batches = planned_batches
        self.rank = rank
        self.world = world
        self.last_draw = last_draw

    def __iter__(self) -> Iterator[PlannedBatch]:
        for planned in self.planned_batches:
            # The plan has no end, and workers would prepare batches in advance that no update uses.
            if self.last_draw is not None and planned.draw > self.last_draw:
                return
            # Micro-batches are dealt out in turn.
            if planned.micro % self.world == self.rank:
                yield planned


def _unchanged(prepared: Any) -> Any:
    """Return a batch unchanged; this replaces PyTorch's own collate function."""
    return prepared


def _ignore_signals(worker: int) -> None:
    """Leave signals to the training loop, which needs its data until it has saved."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
