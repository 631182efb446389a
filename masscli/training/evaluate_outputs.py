"""Compute the outputs of a model for every example of a split, on all processes together.

Every process takes its share of the batches or of the lines. The results are then exchanged, so that they do
not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch

from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.core.memory import out_of_memory
from masscli.data.batches.batch import Ids
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sampler import BatchSampler
from masscli.models.transformer import Transformer
from masscli.objectives.shared.evaluable_objective import (
    EvaluableObjective,
    ExampleOutput,
)

T = TypeVar("T")


@torch.no_grad()
def evaluate_outputs(
    model: Transformer,
    objective: EvaluableObjective,
    batch_builder: BatchBuilder,
    sampler: BatchSampler,
) -> list[ExampleOutput]:
    """Return the output of the model for every example of a dataset, in the order of the dataset.

    An example that `sampler` leaves out, because it is too long, has an empty array. Every process computes a
    share of the batches, and gets all outputs. All processes must call this together.
    """
    device = next(model.parameters()).device

    def outputs_of(numbers: Ids) -> list[ExampleOutput]:
        # Validation has no epochs, and always uses the noise of epoch 0.
        batch = objective.prepare(model, batch_builder(numbers, 0).to(device))
        return objective.forward_outputs(model, batch)

    mine: dict[int, ExampleOutput] = {}
    for position, numbers in enumerate(sampler.epoch()):
        if position % distributed.world_size == distributed.rank:
            outputs = [
                output
                for part in with_less_memory(numbers, outputs_of)
                for output in part
            ]
            mine.update(zip(numbers.tolist(), outputs, strict=True))
    return exchange_outputs(mine, sampler.num_examples, device)


def with_less_memory(numbers: Ids, compute: Callable[[Ids], T]) -> list[T]:
    """Return `[compute(numbers)]`, or the results for parts of `numbers` if memory does not suffice.

    When memory runs out, the example numbers are split into two halves, recursively if necessary; the
    list has one result for each part, in order. Raises MasscliError if there is not enough memory for a
    single example.
    """
    try:
        return [compute(numbers)]
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        if len(numbers) == 1:
            raise MasscliError(
                "validation: not enough memory for a single example",
                "use a smaller model, or shorter examples to validate on",
            ) from None
    # This is outside the except clause, whose traceback would keep the tensors of the failed attempt
    # alive.
    first, second = np.array_split(numbers, 2)
    return with_less_memory(first, compute) + with_less_memory(second, compute)


def exchange_outputs(
    mine: Mapping[int, ExampleOutput], count: int, device: torch.device
) -> list[ExampleOutput]:
    """Return the outputs of examples 0 to `count` - 1, gathered from all processes.

    `mine` maps the number of each example of this process to its output, an array of any length. An example
    that no process has gets an empty array. All processes must call this together.
    """
    # Exchange sizes first, because outputs differ in length: each process must know where its own
    # start.
    sizes = torch.zeros(count, dtype=torch.int64, device=device)
    for number, output in mine.items():
        sizes[number] = len(output)
    ends = torch.cumsum(distributed.all_reduce_sum(sizes).cpu(), 0).tolist()
    # Each process fills in its own outputs, and the sum over processes has all of them.
    total = ends[-1] if ends else 0
    values = torch.zeros(total, dtype=torch.float64, device=device)
    for number, output in mine.items():
        values[ends[number] - len(output) : ends[number]] = torch.from_numpy(output)
    all_values = distributed.all_reduce_sum(values).cpu().numpy()
    starts = [0, *ends[:-1]]
    return [all_values[start:end] for start, end in zip(starts, ends, strict=True)]


def exchange_lines(
    mine: range, lines: Sequence[str], count: int, device: torch.device
) -> list[str]:
    """Return lines 0 to `count` - 1, gathered from all processes.

    `lines` are those of this process, and `mine` has their numbers. All processes must call this together.
    """
    encoded = {}
    for number, line in zip(mine, lines, strict=True):
        # Bytes are exchanged as numbers, so that text needs no separate mechanism. float64 represents
        # them exactly.
        encoded[number] = np.frombuffer(line.encode(), np.uint8).astype(np.float64)
    return [
        line.astype(np.uint8).tobytes().decode()
        for line in exchange_outputs(encoded, count, device)
    ]
