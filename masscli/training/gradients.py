"""The gradient of one update: forward and backward over micro-batches, summed over all processes.

Targets are counted and summed over processes before any forward pass. The loss of a micro-batch is a
sum over its targets. With the default of `--reduction` it is divided by the number of targets in the
update; with sentence_mean by the number of examples in the update; with batch_mean by the targets of
the micro-batch times the number of micro-batches that have any. Dropout is seeded by (seed, update,
micro-batch), so it does not depend on which process computes which micro-batch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from masscli.core import distributed
from masscli.core.distributed import is_sharded
from masscli.core.errors import MasscliError
from masscli.core.memory import out_of_memory
from masscli.data.batches.batch import Batch
from masscli.data.batches.loader import PlannedBatch, PreparedBatch
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Term
from masscli.training.fsdp import gathered_model
from masscli.training.run_parts import RunParts

BUCKET_SIZE = 2**24
"""Number of elements (64 MiB in fp32) at which a bucket of gradients for one all-reduce is full."""

Work = Sequence[tuple[PlannedBatch, Sequence[Batch]]]
"""Micro-batches that are ready for the forward pass: the plan of each, and its contents as one batch or
several smaller ones."""


class Gradients:
    """Computes the gradient of an update, times the loss scale, and stores it in the parameters.

    `step` in the state of the run is the number of updates made before this one, and `oom_retries` is raised
    here.
    """

    def __init__(self, parts: RunParts) -> None:
        self.recipe = parts.recipe
        self.train_step = parts.train_step
        self.streams = parts.streams
        self.parameters = list(parts.parameter_names)
        self.loss_scale = parts.loss_scale
        self.state = parts.state
        self.device = parts.device
        self.sharded = any(is_sharded(p) for p in parts.model.parameters())
        self.terms: list[tuple[str, str]] = []
        """The (stream, loss term) to which each entry in the tensors of losses and counts belongs."""
        for stream in self.streams.values():
            self.terms += [(stream.name, term) for term in stream.objective.weights]
        self.generation_seconds = 0.0
        """Seconds that objectives have spent on generation since this was last set to 0."""
        self.micro_losses: list[tuple[PlannedBatch, Tensor]] = []
        """The plan and the summed loss of each micro-batch of this process in the current update. A
        micro-batch that was split for lack of memory has an entry for each piece."""
        self._reusable_work: Work | None = None
        """The prepared micro-batches of the last update, kept for the next one with `--batch-reuse`; else
        None."""

    def forget(self) -> None:
        """Drop the prepared micro-batches of the last update, so that the next one prepares its own."""
        self._reusable_work = None

    def compute(self, prepared: Sequence[PreparedBatch]) -> tuple[Tensor, Tensor]:
        """Compute the gradient of an update, sum it over all processes, and store it in the parameters.

        The gradient is that of the loss times the loss scale. `prepared` are the micro-batches of this
        process. Returns two tensors with one entry for each of `terms`: the losses of this process, summed in
        nats, and the number of targets in all processes. When memory runs out, the micro-batches are computed
        again in smaller pieces. Raises MasscliError if memory does not suffice for a single example, or for a
        whole micro-batch of a sharded model. All processes must call this together.
        """
        pieces = 1
        counts = None
        while True:
            # A failed attempt leaves partial gradients behind.
            for parameter in self.parameters:
                parameter.grad = None
            try:
                # Cached work is in whole batches, so pieces are prepared again.
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
            # Outside the except clause, nothing keeps the tensors of the failed attempt alive.
            pieces *= 2
        if any(len(batches) > 1 for _, batches in work):
            self.state.oom_retries += 1
        self._reusable_work = work if self.recipe.train.batch_reuse > 1 else None
        self._reduce()
        return loss_sums, counts[0]

    def mean_losses(self, loss_sums: Tensor, target_counts: Tensor) -> dict[str, float]:
        """Return the mean losses over all processes as `STREAM.TERM` to nats per target.

        `loss_sums` are the sums of this process and `target_counts` the targets of all processes, in the
        order of `terms`. Terms without targets are left out. All processes must call this together.
        """
        losses = {}
        all_loss_sums = distributed.all_reduce_sum(loss_sums).cpu()
        for term, loss_sum, count in zip(
            self.terms, all_loss_sums, target_counts, strict=True
        ):
            if count:
                losses[".".join(term)] = float(loss_sum / count)
        return losses

    def _check_can_split(self, prepared: Sequence[PreparedBatch], pieces: int) -> None:
        """Raise MasscliError if micro-batches in `pieces` pieces cannot be split further.

        This is so if the model is sharded, or if no micro-batch has more than `pieces` examples.
        """
        update = self.state.step + 1
        # All processes gather a layer of a sharded model together; after a split they would wait for
        # different layers.
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
        """Complete every micro-batch by `Objective.prepare`, and return them with their plans.

        Each becomes one batch, or up to `pieces` smaller ones.
        """
        generates = any(s.objective.generates_in_prepare for s in self.streams.values())
        # In generation, each process runs the model at its own pace, which sharded layers do not allow.
        context = (
            gathered_model(self.train_step)
            if generates
            else nullcontext(self.train_step.model)
        )
        work = []
        with context as model:
            for item in prepared:
                work.append((item.planned, self._prepare_pieces(model, item, pieces)))
        return work

    def _prepare_pieces(
        self, model: Transformer, prepared: PreparedBatch, pieces: int
    ) -> list[Batch]:
        """Complete a micro-batch by `Objective.prepare`; return it as up to `pieces` batches.

        Smaller batches have the same examples with the same noise. The result is on the device of the model.
        """
        planned = prepared.planned
        stream = self.streams[planned.stream]
        batches = [prepared.batch]
        if pieces > 1:
            # The noise belongs to each example, so smaller batches hold the same corrupted examples.
            groups = np.array_split(planned.numbers, min(pieces, len(planned.numbers)))
            batches = [
                stream.batch_builder(numbers, planned.epoch) for numbers in groups
            ]
        started = time.monotonic()
        with torch.no_grad():
            batches = [
                stream.objective.prepare(model, batch.to(self.device))
                for batch in batches
            ]
        if stream.objective.generates_in_prepare:
            self.generation_seconds += time.monotonic() - started
        return batches

    def _count(self, work: Work) -> Tensor:
        """Return a (3, terms) tensor of counts over all processes, with columns in the order of `terms`.

        Its rows are the number of targets, of micro-batches with at least one target, and of examples. All
        processes must call this together.
        """
        # Every term has an entry, whichever streams this process drew, because the tensors of all
        # processes must match.
        targets = dict.fromkeys(self.terms, 0.0)
        micro_batches = dict.fromkeys(self.terms, 0.0)
        examples = dict.fromkeys(self.terms, 0.0)
        for planned, batches in work:
            for term, count in _count_targets(batches).items():
                targets[planned.stream, term] += count
                micro_batches[planned.stream, term] += count > 0
                examples[planned.stream, term] += len(planned.numbers)
        rows = [
            list(counted.values()) for counted in (targets, micro_batches, examples)
        ]
        counts = torch.tensor(rows, dtype=torch.float64, device=self.device)
        return distributed.all_reduce_sum(counts).cpu()

    def _accumulate(self, work: Work, counts: Tensor) -> Tensor:
        """Run forward and backward on each batch, and return the summed losses (terms,) of this process.

        Gradients are added to those of the parameters. The returned losses are in nats, without label
        smoothing. `counts` is the (3, terms) tensor of targets, micro-batches and examples over all
        processes.
        """
        loss_sums = torch.zeros(
            len(self.terms), dtype=torch.float64, device=self.device
        )
        self.micro_losses = []
        index = {term: position for position, term in enumerate(self.terms)}
        for planned, batches in work:
            # Dropout belongs to the micro-batch, whichever process computes it and however often.
            torch.manual_seed(
                dropout_seed(self.recipe.seed, self.state.step, planned.micro)
            )
            objective = self.streams[planned.stream].objective
            factors = self._loss_factors(planned, batches, counts)
            for batch in batches:
                losses = self.train_step(objective, batch)
                self.micro_losses.append((planned, sum_losses(losses)))
                # One backward pass over the sum goes through the shared layers once for all terms.
                weighted = [
                    value.loss * factors[term] for term, value in losses.items()
                ]
                torch.autograd.backward(torch.stack(weighted).sum())
                for term, value in losses.items():
                    # Reported losses are without label smoothing, so that runs are comparable.
                    loss_sums[index[planned.stream, term]] += value.nll.detach()
        return loss_sums

    def _loss_factors(
        self, planned: PlannedBatch, batches: Sequence[Batch], counts: Tensor
    ) -> dict[str, float]:
        """Return, by term, the factor on the summed loss of a micro-batch in the loss of the update.

        The factor divides as `--reduction` says, and includes the loss scale and the weights of stream and
        term. `counts` is the (3, terms) tensor of targets, micro-batches and examples over all processes.
        """
        train = self.recipe.train
        stream = self.streams[planned.stream]
        # A reused draw keeps the loss weights of the update for which it was drawn.
        drawn_at = self.state.step - self.state.step % train.batch_reuse
        weight = stream.loss_weight.value_at(drawn_at) * self.loss_scale.value
        own_targets = _count_targets(batches)
        factors = {}
        for term, term_weight in stream.objective.weights.items():
            targets, micro_batches, examples = counts[
                :, self.terms.index((planned.stream, term))
            ].tolist()
            divisor = targets
            if train.reduction == "sentence_mean":
                divisor = examples
            elif train.reduction == "batch_mean":
                divisor = own_targets.get(term, 0.0) * micro_batches
            # Without any target the summed loss is 0, whatever it is divided by. The released code of
            # BERT adds 1e-5 to all divisors for the same purpose.
            factors[term] = weight * term_weight / (divisor or 1.0)
        return factors

    def _reduce(self) -> None:
        """Sum the gradients in the parameters over all processes.

        A process that did not use a parameter counts as zero; a parameter that no process used keeps no
        gradient. Sharded parameters are left out, since the backward pass has summed their gradients already.
        """
        if distributed.world_size == 1:
            return
        parameters = [p for p in self.parameters if not is_sharded(p)]
        # Streams use different parameters, so processes must agree on those that take part.
        used_here = torch.tensor(
            [float(p.grad is not None) for p in parameters], device=self.device
        )
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
            summed = distributed.all_reduce_sum(
                torch.cat([gradient.flatten() for gradient in bucket])
            )
            parts = torch.split(summed, [gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))


def _buckets(gradients: Sequence[Tensor]) -> list[list[Tensor]]:
    """Group gradients, in order, so that each group but the last has at least `BUCKET_SIZE` elements."""
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
    """Return the number of targets of each term in a micro-batch, summed over its pieces."""
    counts: dict[str, float] = {}
    for batch in batches:
        for term, count in batch.counts.items():
            counts[term] = counts.get(term, 0.0) + count
    return counts


def sum_losses(losses: Mapping[str, Term]) -> Tensor:
    """Return the sum of the negative log-likelihoods of all terms, without gradient.

    It is not finite if that of any term is not finite.
    """
    return torch.stack([term.nll.detach() for term in losses.values()]).sum()


def dropout_seed(seed: int, update: int, micro: int) -> int:
    """Return the dropout seed of a micro-batch, a number of 63 bits.

    `update` is the number of updates made before, and `micro` the number of the micro-batch in the update.
    The multipliers are the constants of splitmix64 (Steele et al. 2014).
    """
    # Large odd factors make the seeds of adjacent updates and micro-batches very different.
    mixed = (
        seed * 0x9E3779B97F4A7C15
        + update * 0xBF58476D1CE4E5B9
        + micro * 0x94D049BB133111EB
        + 1
    ) % 2**64
    return (mixed ^ (mixed >> 31)) % 2**63
