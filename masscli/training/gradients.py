"""The gradients of one update: a list of micro-batches forward and backward, in pieces where there is no room, summed over processes.

Targets are counted and added up before any forward pass; losses are sums, divided once by those counts (or, with --reduction batch_mean,
by the micro-batch's own and by how many there are); dropout is seeded by (seed, update, micro-batch).
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
from masscli.training.fsdp import Pass, whole
from masscli.training.metric_averager import out_of_memory
from masscli.training.optim import LossScale
from masscli.training.recipe import Recipe
from masscli.training.stream import Stream

BUCKET = 2**24  # numbers in one all-reduce: 64 MiB


class Gradients:
    """Leaves in every parameter its gradient of an update's loss, times the loss scale.

    `parameters` are those that learn.  `state` is the run's: its `step` is the update that is made, its `splits` are counted up here.
    """

    def __init__(
        self,
        recipe: Recipe,
        through: Pass,
        streams: Mapping[str, Stream],
        parameters: Sequence[Tensor],
        scale: LossScale,
        state: RunState,
    ) -> None:
        self.recipe, self.through, self.streams, self.scale, self.state = (
            recipe,
            through,
            streams,
            scale,
            state,
        )
        self.parameters = parameters
        self.device = next(through.model.parameters()).device
        self.sharded = any(isinstance(p, DTensor) for p in through.model.parameters())
        self.keys = [(s.name, term) for s in streams.values() for term in s.objective.weights]
        self.searching = 0.0
        """Seconds that objectives have searched in, since last set to 0."""
        self._ready: list[tuple[PlannedBatch, list[Batch]]] | None = (
            None  # the list that the next update learns from as well
        )

    def forget(self) -> None:
        """Another list comes."""
        self._ready = None

    def of(self, prepared: Sequence[PreparedBatch]) -> tuple[Tensor, Tensor]:
        """Make them; returns by (stream, term) this process's summed losses and the targets of all processes.

        For want of memory the same is done again in smaller pieces; nothing in here but the count concerns other processes.
        """
        pieces, counts = 1, None
        while True:
            for p in self.parameters:
                p.grad = None
            try:
                work = self._ready if pieces == 1 and self._ready else self._work(prepared, pieces)
                counts = (
                    self._count(work) if counts is None else counts
                )  # once, since it waits for the other processes
                sums = self._accumulate(work, counts)
                break
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if self.sharded:
                    hint = "lower --max-tokens: with --shard-model a batch cannot be split while others wait"
                    raise MasscliError(
                        f"update {self.state.step + 1}: not enough memory for a batch", hint
                    ) from None
                if pieces >= max(len(p.planned.numbers) for p in prepared):
                    hint = "use a smaller model, or lower --max-source-positions and --max-target-positions"
                    raise MasscliError(
                        f"update {self.state.step + 1}: not enough memory for a single example", hint
                    ) from None
            pieces *= 2
        self.state.splits += any(len(batches) > 1 for _, batches in work)
        self._ready = work if self.recipe.train.batch_reuse > 1 else None
        self._reduce()
        return sums, counts[0]

    def _work(self, prepared: Sequence[PreparedBatch], pieces: int) -> list[tuple[PlannedBatch, list[Batch]]]:
        """Every micro-batch in so many pieces, complete."""
        searching = any(s.objective.generates_in_prepare for s in self.streams.values())
        with whole(self.through) if searching else nullcontext(self.through.model) as model:
            return [(p.planned, self._parts(model, p, pieces)) for p in prepared]

    def _parts(self, model: Transformer, prepared: PreparedBatch, pieces: int) -> list[Batch]:
        """The batch, or its rows anew in several smaller ones; the examples' noise is their own and stays the same."""
        job, batch_builder = prepared.planned, self.streams[prepared.planned.stream].batch_builder
        parts = (
            [prepared.batch]
            if pieces == 1
            else [
                batch_builder(r, job.epoch)
                for r in np.array_split(job.numbers, min(pieces, len(job.numbers)))
            ]
        )
        objective = self.streams[job.stream].objective
        started = time.monotonic()
        with torch.no_grad():
            ready = [objective.prepare(model, part.to(self.device)) for part in parts]
        self.searching += time.monotonic() - started if objective.generates_in_prepare else 0.0
        return ready

    def _count(self, work: Sequence[tuple[PlannedBatch, list[Batch]]]) -> Tensor:
        """By (stream, term), over all processes: the targets, and the micro-batches that have any: (2, terms)."""
        targets, having = (dict.fromkeys(self.keys, 0.0) for _ in range(2))
        for job, batches in work:
            for term, count in _targets(batches).items():
                targets[job.stream, term] += count
                having[job.stream, term] += count > 0
        both = [list(targets.values()), list(having.values())]
        return distributed.all_reduce_sum(torch.tensor(both, dtype=torch.float64, device=self.device)).cpu()

    def _accumulate(self, work: Sequence[tuple[PlannedBatch, list[Batch]]], counts: Tensor) -> Tensor:
        """Forward and backward, a batch at a time; the summed losses."""
        sums = torch.zeros(len(self.keys), dtype=torch.float64, device=self.device)
        index = {key: i for i, key in enumerate(self.keys)}
        turn = (
            self.state.step - self.state.step % self.recipe.train.batch_reuse
        )  # weights are those with which the list was drawn
        for job, batches in work:
            torch.manual_seed(_mix(self.recipe.seed, self.state.step, job.micro))
            stream = self.streams[job.stream]
            weight = stream.weight.value_at(turn) * self.scale.value
            own, share = _targets(batches), {}
            for term, w in stream.objective.weights.items():
                targets, having = counts[:, index[job.stream, term]].tolist()
                divisor = (
                    targets
                    if self.recipe.train.reduction == "global_token_mean"
                    else own.get(term, 0.0) * having
                )
                # Text too short to have a target leaves sums of nothing, which a share of anything keeps at 0; against these the released
                # code of BERT adds 1e-5 to all divisors.
                share[term] = weight * w / (divisor or 1.0)
            for batch in batches:
                found = self.through(stream.objective, batch)
                torch.autograd.backward(
                    torch.stack([t.loss * share[term] for term, t in found.items()]).sum()
                )
                for term, t in found.items():
                    sums[index[job.stream, term]] += t.nll.detach()
        return sums

    def _reduce(self) -> None:
        """Add gradients over processes.  Where only some of them used a parameter, it counts as zero in the others.

        Those of a model that is shared out have been added up in the backward pass."""
        if distributed.world_size == 1:
            return
        params = [p for p in self.parameters if not isinstance(p, DTensor)]
        used = distributed.all_reduce_sum(
            torch.tensor([float(p.grad is not None) for p in params], device=self.device)
        ).tolist()
        shared = [p for p, n in zip(params, used, strict=True) if n]
        for p in shared:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        bucket: list[Tensor] = []
        for i, p in enumerate(shared):
            assert p.grad is not None
            bucket.append(p.grad)
            if i + 1 == len(shared) or sum(g.numel() for g in bucket) >= BUCKET:
                flat = distributed.all_reduce_sum(torch.cat([g.flatten() for g in bucket]))
                for gradient, part in zip(
                    bucket, torch.split(flat, [g.numel() for g in bucket]), strict=True
                ):
                    gradient.copy_(part.view_as(gradient))
                bucket = []


def _targets(batches: Sequence[Batch]) -> dict[str, float]:
    """The targets of each term in the parts of a micro-batch."""
    found: dict[str, float] = {}
    for batch in batches:
        for term, count in batch.counts.items():
            found[term] = found.get(term, 0.0) + count
    return found


def _mix(seed: int, update: int, micro: int) -> int:
    """A 64-bit seed of its own for every micro-batch (the multipliers are splitmix64's)."""
    x = (seed * 0x9E3779B97F4A7C15 + update * 0xBF58476D1CE4E5B9 + micro * 0x94D049BB133111EB + 1) % 2**64
    return (x ^ (x >> 31)) % 2**63
