"""Batches that another process prepares are those that this one would prepare, and so are its errors."""

import errno
import multiprocessing
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from typing import NoReturn

import numpy as np
import pytest
import torch

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Labels, Tokens
from masscli.data.batches.loader import (
    BatchBuilder,
    PlannedBatch,
    PreparedBatch,
    load,
)
from masscli.data.batches.sampler import Numbers, Position


class NumberedBatches(BatchBuilder):
    """Makes batches of which each value follows from the numbers of their examples."""

    def __init__(self) -> None:
        pass

    def __call__(self, numbers: Numbers, epoch: int) -> Batch:
        ids = torch.from_numpy(numbers)
        source = Tokens(
            ids[:, None].expand(-1, 3),
            ids + epoch,
            cross_attention_mask=ids[:, None] > 4,
        )
        labels = {"x": Labels(ids.double() / 3, ids[:0])}
        return Batch(source, None, labels, {"x": 0.5}, ids)


class Failing(NumberedBatches):
    """Raises an error in the place of each batch."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, numbers: Numbers, epoch: int) -> NoReturn:
        raise self.error


def plans() -> Iterator[PlannedBatch]:
    for draw in range(5):
        numbers = np.arange(draw, draw + 4)
        yield PlannedBatch(draw, 0, "s", draw, numbers, Position())


def loaded(builder: BatchBuilder, workers: int) -> Iterator[PreparedBatch]:
    return load({"s": builder}, plans(), rank=0, world=1, last_draw=4, workers=workers)


def test_batches_of_a_worker_need_no_shared_memory_and_no_open_files() -> None:
    """Where either is used up, PyTorch's worker loses a batch, and a run that waits for it never ends."""
    batches = list(loaded(NumberedBatches(), 1))
    assert len(batches) == 5
    for theirs, ours in zip(batches, loaded(NumberedBatches(), 0), strict=True):
        for tensor, wanted in (
            (theirs.batch.source.ids, ours.batch.source.ids),
            (theirs.batch.source.lengths, ours.batch.source.lengths),
            (
                theirs.batch.source.cross_attention_mask,
                ours.batch.source.cross_attention_mask,
            ),
            (theirs.batch.labels["x"].ids, ours.batch.labels["x"].ids),
            (theirs.batch.labels["x"].positions, ours.batch.labels["x"].positions),
            (theirs.batch.example_numbers, ours.batch.example_numbers),
        ):
            assert tensor is not None and wanted is not None
            assert tensor.dtype == wanted.dtype
            assert torch.equal(tensor, wanted)
            assert not tensor.is_shared()
        assert theirs.batch.counts == {"x": 0.5}
        assert theirs.planned.epoch == ours.planned.epoch


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_worker_keeps_its_hint_and_number(workers: int) -> None:
    """PyTorch hands on a text with a traceback alone."""
    mistake = MasscliError("data/train.bin: is gone", "make it again")
    with pytest.raises(MasscliError) as caught:
        next(loaded(Failing(mistake), workers))
    assert caught.value.message == "data/train.bin: is gone"
    assert caught.value.hint == "make it again"
    failure = OSError(errno.EIO, "Input/output error", "data/train.bin")
    with pytest.raises(OSError, match="Input/output error") as read:
        next(loaded(Failing(failure), workers))
    assert (read.value.errno, read.value.filename) == (errno.EIO, "data/train.bin")
    with pytest.raises(ValueError, match="a bug"):
        next(loaded(Failing(ValueError("a bug")), workers))


def test_no_room_for_queues_between_processes_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a container whose /dev/shm is full."""

    def no_room() -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(multiprocessing, "Queue", no_room)
    with pytest.raises(MasscliError) as caught:
        loaded(NumberedBatches(), 2)
    assert caught.value.message == (
        "--num-workers 2: cannot start processes (No space left on device)"
    )
    assert list(islice(loaded(NumberedBatches(), 0), 1)), (
        "without workers, none is needed"
    )


def prepare_large_batches() -> Iterator[PreparedBatch]:
    """Print a line when a worker has begun to prepare batches that do not fit into a pipe, and wait."""
    numbers = np.arange(100_000)
    endless = (
        PlannedBatch(draw, 0, "s", 0, numbers, Position()) for draw in range(10**9)
    )
    batches = load(
        {"s": NumberedBatches()}, endless, rank=0, world=1, last_draw=None, workers=1
    )
    next(batches)
    print("begun", flush=True)
    sys.stdin.read()
    return batches


def test_a_worker_ends_when_its_run_is_killed() -> None:
    """At its exit it would wait until somebody reads the batches that it has not yet sent."""
    reading, writing = os.pipe()
    command = f"from {__name__} import prepare_large_batches as go; go()"
    with subprocess.Popen(
        [sys.executable, "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[writing],
    ) as run:
        os.close(writing)
        assert run.stdout is not None
        assert run.stdout.readline() == b"begun\n"
        run.kill()
    # The pipe has an end when neither the run nor its worker holds it open.
    assert select.select([reading], [], [], 30)[0], "the worker is still there"
    assert os.read(reading, 1) == b""
    os.close(reading)


@pytest.mark.skipif(sys.platform == "darwin", reason="does not say who sends a signal")
def test_a_program_that_keeps_unread_batches_can_exit() -> None:
    """Python ends its children by SIGTERM, which workers ignore if others send it, and waits for them."""
    command = f"from {__name__} import prepare_large_batches as go; kept = go()"
    result = subprocess.run(
        [sys.executable, "-c", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, b"begun\n", b"")
