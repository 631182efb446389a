"""The order of micro-batches over all training streams, and the processes that prepare them.

A draw is a list of `update_freq` micro-batches, which is used for one or more updates. The stream of a
micro-batch is a pure function of the seed, the draw and its number in the draw, and within a stream
micro-batches come in the sampler's order. Every process plans all of them, since a plan consists only
of integers, and prepares its own: micro = rank, rank + world size, ... The training data therefore
depend neither on the number of processes nor on that of workers, and both may change when a run is
continued.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.queues import Queue
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from masscli.core.errors import MasscliError, cannot_start_processes
from masscli.core.rng import Purpose, example_generator, make_generator
from masscli.core.stopping import end_with_parent
from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset, Example
from masscli.data.batches.sampler import BatchSampler, Numbers, Position
from masscli.text.resegmentation import Resegmenter


class PlannedBatch(NamedTuple):
    """A micro-batch that has been planned but not prepared: its stream, and the numbers of its examples."""

    draw: int
    """The number of the draw to which the micro-batch belongs."""
    micro: int
    """The number of the micro-batch within its draw."""
    stream: str
    epoch: int
    numbers: Numbers
    """The numbers of the examples in the stream's dataset."""
    next_position: Position
    """The position of the stream after this micro-batch."""


@dataclass(frozen=True)
class BatchBuilder:
    """Makes batches from examples of the training stream called `name`.

    `resegmenter`, if given, splits the words of each field of an example into other pieces, at random.
    """

    name: str
    dataset: Dataset
    collate: Collator
    seed: int
    resegmenter: Resegmenter | None = None

    def __call__(self, numbers: Numbers, epoch: int) -> Batch:
        """Return the batch of the examples with these numbers, with the random noise of this epoch."""
        examples = [self._example(int(number), epoch) for number in numbers]
        rngs = [
            example_generator(self.seed, self.name, epoch, example.number)
            for example in examples
        ]
        return self.collate(examples, rngs)

    def _example(self, number: int, epoch: int) -> Example:
        """Return an example; if there is a resegmenter, its words are split into pieces at random."""
        example = self.dataset[number]
        if self.resegmenter is None:
            return example
        # These random numbers have a separate purpose, so that the noise is the same with and without
        # them.
        rng = make_generator(self.seed, Purpose.SEGMENTATION, epoch, number, self.name)
        fields = tuple(self.resegmenter(ids, rng) for ids in example.fields)
        return Example(example.number, fields)


def plan(
    samplers: Mapping[str, BatchSampler],
    sampling_weights: Callable[[int], Mapping[str, float]],
    seed: int,
    update_freq: int,
    first_draw: int,
    positions: Mapping[str, Position],
) -> Iterator[PlannedBatch]:
    """Yield planned micro-batches without end, beginning with `first_draw`.

    `samplers` and `positions` have an entry for each stream; a stream without a position begins at its start.
    `sampling_weights` takes the number of a draw and returns the relative frequency of each stream in it;
    `update_freq` is the number of micro-batches in a draw.
    """
    names = list(samplers)
    current = {name: positions.get(name, Position()) for name in names}
    draw = first_draw
    while True:
        # Weights may follow a schedule, so they are queried for each draw.
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
            yield PlannedBatch(
                draw, micro, name, next_position.epoch, numbers, next_position
            )
        draw += 1


class PreparedBatch(NamedTuple):
    """A planned micro-batch together with the batch that was made from it."""

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
    """Yield, in the order of the plan, the micro-batches of process `rank` of `world`, prepared.

    Ends after the draw `last_draw`, or never if it is None. `workers` worker processes prepare batches in
    advance; with 0 they are prepared in this process. Raises MasscliError if workers cannot be started.
    """
    prepared = _PreparedBatches(batch_builders)
    own = _OwnBatches(planned_batches, rank, world, last_draw)
    if not workers:
        return (prepared[planned] for planned in own)
    _check_queues(workers)
    loader: DataLoader[bytes] = DataLoader(
        _BatchesAsBytes(prepared),
        # Batches come ready-made, so PyTorch neither groups nor collates.
        batch_size=None,
        sampler=own,
        num_workers=workers,
        prefetch_factor=4,
        collate_fn=_unchanged,
        worker_init_fn=_start_worker,
    )
    return map(_from_bytes, iter(loader))


class _PreparedBatches(TorchDataset[PreparedBatch]):
    """A map-style dataset for a DataLoader: it maps the plan of a micro-batch to the batch itself."""

    def __init__(self, batch_builders: Mapping[str, BatchBuilder]) -> None:
        self.batch_builders = batch_builders

    def __getitem__(self, planned: PlannedBatch) -> PreparedBatch:
        build = self.batch_builders[planned.stream]
        return PreparedBatch(planned, build(planned.numbers, planned.epoch))


class _OwnBatches:
    """A sampler for a DataLoader: yields those planned micro-batches that belong to process `rank`.

    It ends after `last_draw`, unless that is None.
    """

    def __init__(
        self,
        planned_batches: Iterator[PlannedBatch],
        rank: int,
        world: int,
        last_draw: int | None,
    ) -> None:
        self.planned_batches = planned_batches
        self.rank = rank
        self.world = world
        self.last_draw = last_draw

    def __iter__(self) -> Iterator[PlannedBatch]:
        for planned in self.planned_batches:
            # The plan is endless, and workers would prepare batches in advance that no update uses.
            if self.last_draw is not None and planned.draw > self.last_draw:
                return
            # Micro-batches are assigned to processes in turn.
            if planned.micro % self.world == self.rank:
                yield planned


class _BatchesAsBytes(TorchDataset[bytes]):
    """The dataset of worker processes: it maps a plan to the bytes of its batch, or of an error.

    Bytes are sent to the training loop through a pipe. PyTorch would put each tensor into shared memory and
    send an open file; a worker for which there is not enough of either loses the batch, and the training loop
    waits for it forever. Of an error, it would send no more than a text with its traceback.
    """

    def __init__(self, prepared: _PreparedBatches) -> None:
        self.prepared = prepared

    def __getitem__(self, planned: PlannedBatch) -> bytes:
        result: PreparedBatch | Exception
        try:
            result = self.prepared[planned]
        except (MasscliError, OSError) as error:
            result = error
        stream = io.BytesIO()
        _BatchPickler(stream, pickle.HIGHEST_PROTOCOL).dump(result)
        return stream.getvalue()


class _BatchPickler(pickle.Pickler):
    """Pickles tensors with their contents."""

    def reducer_override(self, value: Any) -> Any:
        """Return how a tensor is made from an array; everything else is pickled as usual."""
        if isinstance(value, torch.Tensor):
            return torch.from_numpy, (value.numpy(),)
        return NotImplemented


def _from_bytes(content: bytes) -> PreparedBatch:
    """Return the batch that a worker has sent, or raise the error that it has sent instead."""
    result: PreparedBatch | Exception = pickle.loads(content)
    if isinstance(result, Exception):
        raise result
    return result


def _unchanged(prepared: Any) -> Any:
    """Return a batch unchanged; this replaces PyTorch's own collate function."""
    return prepared


def _check_queues(workers: int) -> None:
    """Raise MasscliError if there is no room for the queues between this process and its workers.

    PyTorch's loader makes as many, but an error in the middle of that also prints a traceback.
    """
    queues: list[Queue[object]] = []
    try:
        for _ in range(workers + 1):
            queues.append(multiprocessing.Queue())
    except OSError as error:
        raise cannot_start_processes(
            f"--num-workers {workers}", error, "--num-workers 0"
        ) from None
    for queue in queues:
        queue.close()


def _start_worker(worker: int) -> None:
    """Prepare a worker process: it ignores SIGINT, SIGTERM, SIGHUP and SIGUSR1, and ends with its parent.

    The training loop handles these signals, and still needs batches until it has saved a checkpoint. Only a
    SIGTERM from the parent ends the worker: Python sends it at exit, and waits until the worker has ended.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    # macOS does not say who has sent a signal.
    if sys.platform != "darwin":
        # A signal can be waited for if it is blocked and not ignored.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=_end_when_parent_asks, daemon=True).start()
    end_with_parent()


def _end_when_parent_asks() -> None:
    """Wait until the parent sends SIGTERM, and end this process; SIGTERM must be blocked."""
    assert sys.platform != "darwin"
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    # PyTorch reports a worker that ends with another code.
    os._exit(0)
