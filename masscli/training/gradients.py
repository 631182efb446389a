"""The gradient of one update: forward and backward over micro-batches, summed over all processes.

Targets are counted and summed over processes before any forward pass. Losses are sums, divided once by these
counts, or as `--reduction` says by the number of examples, or by the counts of their own micro-batch and the
number of micro-batches. Dropout is seeded by (seed, update, micro-batch), so that it does not depend on which
process computes what.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from masscli.checkpoint.checkpoint import RunState
from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch
from masscli.data.batches.loader import PlannedBatch, PreparedBatch
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Term
from masscli.training.fsdp import TrainStep, gathered_model
from masscli.training.loss_scale import LossScale
from masscli.training.metric_averager import out_of_memory
from masscli.training.recipe import Recipe
from masscli.training.stream import Stream

BUCKET_SIZE = 2**24
"""Numbers in one all-reduce: 64 MiB in fp32."""

Work = Sequence[tuple[PlannedBatch, Sequence[Batch]]]
"""Micro-batches that are ready for the forward pass, each whole or in several pieces."""


class Gradients:
    """Computes the gradient of an update, times the loss scale, and stores it in the parameters.

    `parameters` are those that are trained. `state` is the state of the run: its `step` is the current
    update, and its `oom_retries` are counted here.
    """

    def __init__(
        self,
        recipe: Recipe,
        train_step: TrainStep,
        streams: Mapping[str, Stream],
        parameters: Sequence[Tensor],
        scale: LossScale,
        state: RunState,
    ) -> None:
        self.recipe = recipe
        self.train_step = train_step
        self.streams = streams
        self.parameters = parameters
        self.scale = scale
        self.state = state
        self.device = next(train_step.model.parameters()).device
        self.sharded = any(isinstance(p, DTensor) for p in train_step.model.parameters())
        self.terms: list[tuple[str, str]] = []
        """(stream, loss term) of each entry in the tensors of losses and counts."""
        for stream in streams.values():
            self.terms += [(stream.name, term) for term in stream.objective.weights]
        self.generation_seconds = 0.0
        """Seconds that objectives have spent on generation since this was last set to 0."""
        self.micro_losses: list[tuple[PlannedBatch, Tensor]] = []
        """The summed loss of each micro-batch of this process in the current update."""
        self._reusable_work: Work | None = None
        """The list of the last update, if the next one learns from it as well."""

    def forget(self) -> None:
        """Drop the stored batches of the last list of micro-batches, since another list comes."""
        self._reusable_work = None

    def compute(self, prepared: Sequence[PreparedBatch]) -> tuple[Tensor, Tensor]:
        """Compute the gradients of an update.

        Returns two tensors by (stream, term): the summed losses of this process and the targets of all
        processes. On out-of-memory, retry in smaller pieces; only the counting is collective, so other
        processes need not know. Raises MasscliError if there is not even enough memory for a single example.
        """
        pieces = 1
        counts = None
        while True:
            # A failed attempt leaves a part of the gradients behind.
            for parameter in self.parameters:
                parameter.grad = None
            try:
                # Work that is kept is in whole batches, so pieces are prepared anew.
                work = self._reusable_work
                if work is None or pieces > 1:
                    work = self._prepare(prepared, pieces)
                # Counting waits for the other processes, so a retry must not count again.
                if counts is None:
                    counts = self._count(work)
                loss_sums = self._accumulate(work, counts)
                break
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self._check_can_split(prepared, pieces)
            # Outside of the except clause nothing holds the tensors of the failed attempt any more.
            pieces *= 2
        if any(len(batches) > 1 for _, batches in work):
            self.state.oom_retries += 1
        self._reusable_work = work if self.recipe.train.batch_reuse > 1 else None
        self._reduce()
        return loss_sums, counts[0]

    def _check_can_split(self, prepared: Sequence[PreparedBatch], pieces: int) -> None:
        """Raise MasscliError if the micro-batches cannot be split into more than `pieces` pieces."""
        update = self.state.step + 1
        # A layer of a sharded model is gathered by all processes together, and they would wait for different
        # layers.
        if self.sharded:
            raise MasscliError(
                f"update {update}: not enough memory for a batch",
                "lower --max-tokens: with --shard-model a batch cannot be split while other processes wait",
            ) from None
        if pieces >= max(len(item.planned.numbers) for item in prepared):
            raise MasscliError(
                f"update {update}: not enough memory for a single example",
                "use a smaller model, or lower --max-source-positions and --max-target-positions",
            ) from None

    def _prepare(self, prepared: Sequence[PreparedBatch], pieces: int) -> Work:
        """Complete every micro-batch (see `Objective.prepare`), each in up to `pieces` pieces."""
        generates = any(s.objective.generates_in_prepare for s in self.streams.values())
        # Generation runs the model at a pace of its own in each process, which sharded layers do not allow.
        context = gathered_model(self.train_step) if generates else nullcontext(self.train_step.model)
        with context as model:
            return [(item.planned, self._prepare_pieces(model, item, pieces)) for item in prepared]

    def _prepare_pieces(self, model: Transformer, prepared: PreparedBatch, pieces: int) -> list[Batch]:
        """Complete a batch, or the same examples in several smaller batches with the same noise."""
        planned = prepared.planned
        stream = self.streams[planned.stream]
        batches = [prepared.batch]
        if pieces > 1:
            # The noise belongs to each example, so smaller batches hold the same corrupted examples.
            groups = np.array_split(planned.numbers, min(pieces, len(planned.numbers)))
            batches = [stream.batch_builder(numbers, planned.epoch) for numbers in groups]
        started = time.monotonic()
        with torch.no_grad():
            batches = [stream.objective.prepare(model, batch.to(self.device)) for batch in batches]
        if stream.objective.generates_in_prepare:
            self.generation_seconds += time.monotonic() - started
        return batches

    def _count(self, work: Work) -> Tensor:
        """Return the number of targets, of micro-batches that have any, and of examples, over all processes.

        They are the rows of a tensor (3, terms).
        """
        # Every term has an entry, whatever this process drew, because the tensors of all processes must
        # match.
        targets = dict.fromkeys(self.terms, 0.0)
        micro_batches = dict.fromkeys(self.terms, 0.0)
        examples = dict.fromkeys(self.terms, 0.0)
        for planned, batches in work:
            for term, count in _count_targets(batches).items():
                targets[planned.stream, term] += count
                micro_batches[planned.stream, term] += count > 0
                examples[planned.stream, term] += len(planned.numbers)
        rows = [list(counted.values()) for counted in (targets, micro_batches, examples)]
        counts = torch.tensor(rows, dtype=torch.float64, device=self.device)
        return distributed.all_reduce_sum(counts).cpu()

    def _accumulate(self, work: Work, counts: Tensor) -> Tensor:
        """Run forward and backward, one batch at a time, and return the summed losses by term."""
        loss_sums = torch.zeros(len(self.terms), dtype=torch.float64, device=self.device)
        self.micro_losses = []
        index = {term: position for position, term in enumerate(self.terms)}
        for planned, batches in work:
            # Dropout belongs to the micro-batch, whichever process computes it and however often.
            torch.manual_seed(dropout_seed(self.recipe.seed, self.state.step, planned.micro))
            objective = self.streams[planned.stream].objective
            factors = self._loss_factors(planned, batches, counts)
            for batch in batches:
                losses = self.train_step(objective, batch)
                self.micro_losses.append((planned, sum_losses(losses)))
                # One backward pass over the sum goes through the shared layers once for all terms.
                weighted = [value.loss * factors[term] for term, value in losses.items()]
                torch.autograd.backward(torch.stack(weighted).sum())
                for term, value in losses.items():
                    # Reports are without label smoothing, so that runs can be compared.
                    loss_sums[index[planned.stream, term]] += value.nll.detach()
        return loss_sums

    def _loss_factors(
        self, planned: PlannedBatch, batches: Sequence[Batch], counts: Tensor
    ) -> dict[str, float]:
        """Return the factor on the summed loss of each term of a micro-batch, which averages it."""
        train = self.recipe.train
        stream = self.streams[planned.stream]
        # A list that is reused keeps the loss weights of the update for which it was drawn.
        drawn_at = self.state.step - self.state.step % train.batch_reuse
        weight = stream.loss_weight.value_at(drawn_at) * self.scale.value
        own_targets = _count_targets(batches)
        factors = {}
        for term, term_weight in stream.objective.weights.items():
            targets, micro_batches, examples = counts[:, self.terms.index((planned.stream, term))].tolist()
            divisor = targets
            if train.reduction == "sentence_mean":
                divisor = examples
            elif train.reduction == "batch_mean":
                divisor = own_targets.get(term, 0.0) * micro_batches
            # Without any target the summed loss is 0, whatever it is divided by. For this reason the released
            # code of BERT adds 1e-5 to all divisors.
            factors[term] = weight * term_weight / (divisor or 1.0)
        return factors

    def _reduce(self) -> None:
        """Sum gradients over processes.

        Where only some processes used a parameter, its gradient counts as zero in the others. Those of a
        sharded model have been summed in the backward pass already.
        """
        if distributed.world_size == 1:
            return
        parameters = [p for p in self.parameters if not isinstance(p, DTensor)]
        # Streams use different parameters, so processes must agree on those that take part.
        used_here = torch.tensor([float(p.grad is not None) for p in parameters], device=self.device)
        users = distributed.all_reduce_sum(used_here).tolist()
        gradients: list[Tensor] = []
        for parameter, count in zip(parameters, users, strict=True):
            if count:
                # The sum needs a tensor from every process.
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        # A few large messages are faster than many small ones.
        for bucket in _buckets(gradients):
            summed = distributed.all_reduce_sum(torch.cat([gradient.flatten() for gradient in bucket]))
            parts = torch.split(summed, [gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))


def _buckets(gradients: Sequence[Tensor]) -> list[list[Tensor]]:
    """Group gradients so that each all-reduce has at least `BUCKET_SIZE` numbers, the last one aside."""
    buckets: list[list[Tensor]] = []
    size = BUCKET_SIZE
    for gradient in gradients:
        if size >= BUCKET_SIZE:
            buckets.append([])
            size = 0
        buckets[-1].append(gradient)
        size += gradient.numel()
    return buckets


def _count_targets(batches: Sequence[Batch]) -> dict[str, float]:
    """Return the number of targets of each term in a micro-batch, which may be in several pieces."""
    counts: dict[str, float] = {}
    for batch in batches:
        for term, count in batch.counts.items():
            counts[term] = counts.get(term, 0.0) + count
    return counts


def sum_losses(losses: Mapping[str, Term]) -> Tensor:
    """Return the sum of all terms, to tell whether any of them is not a number."""
    return torch.stack([term.nll.detach() for term in losses.values()]).sum()


def dropout_seed(seed: int, update: int, micro: int) -> int:
    """Return the seed of dropout in a micro-batch: 63 bits.

    The multipliers are those of splitmix64 (Steele et al. 2014).
    """
    # Large odd factors keep the seeds of neighbouring updates and micro-batches apart.
    mixed = (seed * 0x9E3779B97F4A7C15 + update * 0xBF58476D1CE4E5B9 + micro * 0x94D049BB133111EB + 1) % 2**64
    return (mixed ^ (mixed >> 31)) % 2**63
