"""The loop, written once: micro-batches to gradients to updates, for every objective, alone or in many processes.

Contract (DESIGN, "Life of a batch"): an update is a list of U micro-batches that does not depend on the number of processes; targets
are counted and added up before any forward pass; losses are sums, divided once by those counts (or, with --reduction batch_mean, by the
micro-batch's own and by how many there are); dropout is seeded by (seed, update, micro-batch).  So a run that was stopped and continued, or
spread over processes, learns the same thing.  With `reuse` n, n updates in a row learn from one list, which is prepared once; nothing is
saved, and no run ends, before the last of them, so nothing of it must be.

The trainer yields events and prints nothing; it knows no objective by name.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from masscli import parallel
from masscli.data.batch import Batch
from masscli.data.loader import Collation, Job, Prepared, load, plan
from masscli.data.sampler import Sampler
from masscli.errors import MasscliError
from masscli.models.transformer import Transformer
from masscli.objectives.base import Objective
from masscli.recipe import Recipe, ramp_at
from masscli.text.tokenizer import Tokenizer
from masscli.training import checkpoint
from masscli.training.checkpoint import RunState
from masscli.training.evaluate import Validator, lower_is_better
from masscli.training.events import Evaluated, Event, Finished, Saved, Stepped
from masscli.training.optim import LossScale, learning_rate, moments
from masscli.training.sharding import Pass, gather, local, total_norm, whole
from masscli.training.signals import Signals
from masscli.training.watch import Watch, out_of_memory, peak_memory

BUCKET = 2**24  # numbers in one all-reduce: 64 MiB
PATIENCE_FOR_DIVERGENCE = 50  # updates in a row with a loss far above the first before a run is given up


@dataclass(frozen=True)
class Stream:
    """One source of examples."""

    name: str
    objective: Objective
    collation: Collation
    sampler: Sampler
    share: float
    weight: tuple[tuple[int, float], ...]


class Trainer:
    """Runs a recipe from the state it is given.  `folder` is the run's; `kept` are its checkpoints by step with their scores."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        through: Pass,
        streams: Sequence[Stream],
        validator: Validator,
        tokenizer: Tokenizer,
        optimizer: torch.optim.Optimizer,
        state: RunState,
        kept: Mapping[int, float | None],
    ) -> None:
        self.recipe, self.folder, self.through, self.model, self.tokenizer = recipe, folder, through, through.model, tokenizer
        self.streams = {s.name: s for s in streams}
        self.validator, self.optimizer, self.state, self.kept = validator, optimizer, state, dict(kept)
        self.device = next(self.model.parameters()).device
        heads = ((f"objective.{s.name}.{n}", p) for s in streams for n, p in s.objective.named_parameters())
        named = [*self.model.named_parameters(), *heads]
        self.names = {p: n for n, p in named if p.requires_grad}
        self.scale = LossScale(self.model.compute == torch.float16, state.loss_scale, state.clean)
        self.sharded = any(isinstance(p, DTensor) for p in self.model.parameters())
        self.keys = [(s.name, term) for s in streams for term in s.objective.weights]
        self.signals = Signals()
        self._searching = 0.0  # seconds, since the last report
        self._ready: list[tuple[Job, list[Batch]]] | None = None  # what the next update learns from as well
        self._far = 0
        self._first_loss: float | None = None

    # -- the loop --------------------------------------------------------------------------------------------------------------------

    def run(self) -> Iterator[Event]:
        """Train until the recipe says stop, yielding what happens."""
        self.model.train()
        for stream in self.streams.values():
            stream.objective.train()
        began, before = time.monotonic(), self.state.seconds
        watch = Watch(len(self.keys), self.device)
        saved_at, reason, interrupted = self.state.step, "", 0
        first = self.state.step + 1  # is told of at once: a sign of life, and whether it fits
        with self.signals:
            for jobs, prepared in self._updates():
                if self._between() and (reason := self._over(jobs, time.monotonic() - began)):
                    break
                started = time.monotonic()
                norm = self._update(jobs, prepared, watch)
                self.state.seconds = before + time.monotonic() - began
                watch.seconds += time.monotonic() - started
                if self.state.step % self.recipe.train.log_interval == 0 or self.state.step == first:
                    yield self._stepped(watch, jobs[-1].epoch, norm)
                save = self.recipe.checkpoint.save_interval_updates
                if self.validator and self._due(self.recipe.valid.validate_interval_updates or save):
                    yield from self._validate()
                    saved_at = self.state.step
                elif self._due(save):
                    yield from self._save({})
                    saved_at = self.state.step
                if self._between() and (interrupted := self._agreed_to_stop()):
                    reason = f"stopped by {signal.Signals(interrupted).name}"
                    break
        if watch.updates:
            yield self._stepped(watch, jobs[-1].epoch, norm)
        if saved_at != self.state.step:
            yield from self._validate() if self.validator and not interrupted else self._save({})
        yield Finished(self.state.step, reason or "done", self.state.seconds, interrupted)

    def _updates(self) -> Iterator[tuple[list[Job], list[Prepared]]]:
        """The jobs of each coming update, and this process's share of them, prepared; the same ones `reuse` times."""
        samplers = {n: s.sampler for n, s in self.streams.items()}
        train, state = self.recipe.train, self.state
        reuse, first = train.reuse, self.state.step // train.reuse

        def shares(turn: int) -> dict[str, float]:
            """A stream whose weight is 0 is not drawn (all are, where all weigh nothing)."""
            heavy = {n: s.share for n, s in self.streams.items() if ramp_at(s.weight, turn * reuse)}
            return {n: heavy.get(n, 0.0) if heavy else s.share for n, s in self.streams.items()}

        def jobs() -> Iterator[Job]:
            return plan(samplers, shares, self.recipe.seed, state.update_freq, first, state.positions)

        collations = {n: s.collation for n, s in self.streams.items()}
        last = None if train.max_update is None else train.max_update // reuse - 1
        if last is not None and first > last:
            return
        mine = load(collations, jobs(), rank=parallel.rank, world=parallel.world, last_turn=last, workers=train.num_workers)
        for turn, group in groupby(jobs(), key=lambda job: job.turn):
            if last is not None and turn > last:
                return
            planned = list(group)
            prepared = [next(mine) for job in planned if job.micro % parallel.world == parallel.rank]
            self._ready = None
            for _ in range(reuse):
                yield planned, prepared

    def _over(self, jobs: Sequence[Job], seconds: float) -> str:
        train, patience = self.recipe.train, self.recipe.checkpoint.patience
        if patience and self.state.stale >= patience:
            return f"no better {self.recipe.checkpoint.best_metric} in {self.state.stale} validations"
        first = next(iter(self.streams))
        if train.max_epoch is not None and any(j.stream == first and j.epoch >= train.max_epoch for j in jobs):
            return f"read {first} {train.max_epoch} times"
        if train.stop_time_hours is not None:
            over = torch.tensor(float(seconds >= train.stop_time_hours * 3600), device=self.device)
            if float(parallel.broadcast(over)):
                return f"{train.stop_time_hours} hours are over"
        return ""

    def _between(self) -> bool:
        """The next update has a list of its own."""
        return self.state.step % self.recipe.train.reuse == 0

    def _due(self, interval: int) -> bool:
        """At the first chance after so many updates."""
        return self._between() and self.state.step % interval < self.recipe.train.reuse

    def _agreed_to_stop(self) -> int:
        """The signal that ends the run, 0 for none; every process comes to know of it after the same update, whichever was sent it."""
        mine = self.signals.told  # read once: it may come between the lines
        anyone = float(parallel.sum_(torch.tensor(float(mine), device=self.device)))
        return mine or (signal.SIGTERM if anyone else 0)

    # -- one update ------------------------------------------------------------------------------------------------------------------

    def _update(self, jobs: Sequence[Job], prepared: Sequence[Prepared], watch: Watch) -> float:
        """Learn from one list of micro-batches; returns the norm of the gradient."""
        lr = learning_rate(self.recipe.optim, self.state.step + 1, self.recipe.train.max_update)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        if self._between():
            for stream in self.streams.values():
                stream.objective.begin_update(self.model, self.state.step)
        sums, totals = self._gradients(prepared)
        self._reduce()
        norm = self._norm()
        learned = math.isfinite(norm)
        if learned:
            self._step(norm)
            self.scale.went_well()
        elif self.scale.enabled:
            self._overflow()
        else:
            self._give_up(sums, totals, norm)
        self.optimizer.zero_grad(set_to_none=True)
        self.state.step += 1
        self.state.positions.update({job.stream: job.after for job in jobs})
        if learned:
            self.state.targets += int(totals.sum())
            self._watch_divergence(sums, totals)
            watch.add(sums, totals, prepared)
        return norm

    def _gradients(self, prepared: Sequence[Prepared]) -> tuple[Tensor, Tensor]:
        """Accumulate the gradients of the update's loss; by (stream, term): this process's summed losses, the targets of all processes.

        For want of memory the same is done again in smaller pieces; nothing in here but the count concerns other processes.
        """
        pieces, counts = 1, None
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                work = self._ready if pieces == 1 and self._ready else self._work(prepared, pieces)
                counts = self._count(work) if counts is None else counts  # once, since it waits for the other processes
                sums = self._accumulate(work, counts)
                break
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if self.sharded:
                    hint = "lower --max-tokens: with --shard-model a batch cannot be split while others wait"
                    raise MasscliError(f"update {self.state.step + 1}: not enough memory for a batch", hint) from None
                if pieces >= max(len(p.job.rows) for p in prepared):
                    hint = "use a smaller model, or lower --max-source-positions and --max-target-positions"
                    raise MasscliError(f"update {self.state.step + 1}: not enough memory for a single example", hint) from None
            pieces *= 2
        self.state.splits += any(len(batches) > 1 for _, batches in work)
        self._ready = work if self.recipe.train.reuse > 1 else None
        return sums, counts[0]

    def _work(self, prepared: Sequence[Prepared], pieces: int) -> list[tuple[Job, list[Batch]]]:
        """Every micro-batch in so many pieces, complete."""
        searching = any(s.objective.searches for s in self.streams.values())
        with whole(self.through) if searching else nullcontext(self.model) as model:
            return [(p.job, self._parts(model, p, pieces)) for p in prepared]

    def _parts(self, model: Transformer, prepared: Prepared, pieces: int) -> list[Batch]:
        """The batch, or its rows anew in several smaller ones; the examples' noise is their own and stays the same."""
        job, collation = prepared.job, self.streams[prepared.job.stream].collation
        parts = [prepared.batch] if pieces == 1 else [collation(r, job.epoch) for r in np.array_split(job.rows, min(pieces, len(job.rows)))]
        objective = self.streams[job.stream].objective
        started = time.monotonic()
        with torch.no_grad():
            ready = [objective.prepare(model, part.to(self.device)) for part in parts]
        self._searching += time.monotonic() - started if objective.searches else 0.0
        return ready

    def _count(self, work: Sequence[tuple[Job, list[Batch]]]) -> Tensor:
        """By (stream, term), over all processes: the targets, and the micro-batches that have any: (2, terms)."""
        targets, having = (dict.fromkeys(self.keys, 0.0) for _ in range(2))
        for job, batches in work:
            for term, count in _targets(batches).items():
                targets[job.stream, term] += count
                having[job.stream, term] += count > 0
        both = [list(targets.values()), list(having.values())]
        return parallel.sum_(torch.tensor(both, dtype=torch.float64, device=self.device)).cpu()

    def _accumulate(self, work: Sequence[tuple[Job, list[Batch]]], counts: Tensor) -> Tensor:
        """Forward and backward, a batch at a time; the summed losses."""
        sums = torch.zeros(len(self.keys), dtype=torch.float64, device=self.device)
        index = {key: i for i, key in enumerate(self.keys)}
        turn = self.state.step - self.state.step % self.recipe.train.reuse  # weights are those with which the list was drawn
        for job, batches in work:
            torch.manual_seed(_mix(self.recipe.seed, self.state.step, job.micro))
            stream = self.streams[job.stream]
            weight = ramp_at(stream.weight, turn) * self.scale.value
            own, share = _targets(batches), {}
            for term, w in stream.objective.weights.items():
                targets, having = counts[:, index[job.stream, term]].tolist()
                divisor = targets if self.recipe.train.reduction == "global_token_mean" else own.get(term, 0.0) * having
                # Text too short to have a target leaves sums of nothing, which a share of anything keeps at 0; against these the released
                # code of BERT adds 1e-5 to all divisors.
                share[term] = weight * w / (divisor or 1.0)
            for batch in batches:
                found = self.through(stream.objective, batch)
                torch.autograd.backward(torch.stack([t.loss * share[term] for term, t in found.items()]).sum())
                for term, t in found.items():
                    sums[index[job.stream, term]] += t.nll.detach()
        return sums

    def _reduce(self) -> None:
        """Add gradients over processes.  Where only some of them used a parameter, it counts as zero in the others.

        Those of a model that is shared out have been added up in the backward pass."""
        if parallel.world == 1:
            return
        params = [p for p in self.names if not isinstance(p, DTensor)]
        used = parallel.sum_(torch.tensor([float(p.grad is not None) for p in params], device=self.device)).tolist()
        shared = [p for p, n in zip(params, used, strict=True) if n]
        for p in shared:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        bucket: list[Tensor] = []
        for i, p in enumerate(shared):
            assert p.grad is not None
            bucket.append(p.grad)
            if i + 1 == len(shared) or sum(g.numel() for g in bucket) >= BUCKET:
                flat = parallel.sum_(torch.cat([g.flatten() for g in bucket]))
                for gradient, part in zip(bucket, torch.split(flat, [g.numel() for g in bucket]), strict=True):
                    gradient.copy_(part.view_as(gradient))
                bucket = []

    def _norm(self) -> float:
        return total_norm((p.grad for p in self.names if p.grad is not None), self.device) / self.scale.value

    def _step(self, norm: float) -> None:
        clip = self.recipe.optim.clip_norm
        shrink = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
        if shrink / self.scale.value != 1.0:
            torch._foreach_mul_([local(p.grad) for p in self.names if p.grad is not None], shrink / self.scale.value)
        self.optimizer.step()

    def _overflow(self) -> None:
        self.scale.overflowed()
        self.state.overflows += 1
        if self.scale.value < self.recipe.train.min_loss_scale:
            raise MasscliError(
                f"update {self.state.step + 1}: the loss scale fell below {self.recipe.train.min_loss_scale}: gradients overflow fp16",
                f"use --bf16, or a lower --lr; {self._refuge()}",
            )

    def _give_up(self, sums: Tensor, totals: Tensor, norm: float) -> None:
        broken = [n for p, n in self.names.items() if p.grad is not None and not bool(torch.isfinite(local(p.grad)).all())]
        each = zip(self.keys, sums, totals, strict=True)
        losses = ", ".join(f"{'.'.join(key)} {float(s / t):.3g}" for key, s, t in each if t)
        raise MasscliError(
            f"update {self.state.step + 1}: the gradient is {norm} (losses: {losses}; first bad tensor: {broken[0] if broken else 'none'})",
            f"lower --lr or set --clip-norm; {self._refuge()}",
        )

    def _refuge(self) -> str:
        """What is left of a run that failed."""
        last = self.folder / "checkpoints" / "last"
        return f"the run continues from {last}, where all is well" if self.kept else "nothing was saved yet: the run begins anew"

    def _watch_divergence(self, sums: Tensor, totals: Tensor) -> None:
        loss = float(sums.sum()) / max(1.0, float(totals.sum())) * parallel.world
        self._first_loss = max(loss, math.log(self.model.vocab_size)) if self._first_loss is None else self._first_loss
        self._far = self._far + 1 if loss > 2 * self._first_loss else 0
        if self._far >= PATIENCE_FOR_DIVERGENCE:
            raise MasscliError(
                f"update {self.state.step}: the loss has been above {2 * self._first_loss:.1f} for {self._far} updates; the run diverges",
                f"lower --lr or raise --warmup-updates; {self._refuge()}",
            )

    # -- what is kept ----------------------------------------------------------------------------------------------------------------

    def _validate(self) -> Iterator[Event]:
        started = time.monotonic()
        with whole(self.through) as model:
            metrics, signatures = self.validator.measure(model)
        if not all(map(math.isfinite, metrics.values())):
            said = ", ".join(f"{name} {value:.3g}" for name, value in metrics.items())
            raise MasscliError(
                f"update {self.state.step}: the model's losses on the validation set are not numbers ({said})",
                f"lower --lr or set --clip-norm; {self._refuge()}",
            )
        yield Evaluated(self.state.step, metrics, signatures, time.monotonic() - started)
        yield from self._save(metrics)

    def _save(self, metrics: Mapping[str, float]) -> Iterator[Event]:
        config = self.recipe.checkpoint
        score, lower = metrics.get(config.best_metric), lower_is_better(config.best_metric)
        state = self.state
        best = score is not None and (state.best is None or (score < state.best if lower else score > state.best))
        if score is not None:
            state.best, state.stale = (score, 0) if best else (state.best, state.stale + 1)
        state.loss_scale, state.clean = self.scale.value, self.scale.clean
        weights, known = gather(self.model.state_dict()), gather(moments(self.optimizer, self.names))
        if parallel.rank == 0:
            folder = self.folder / "checkpoints"
            heads = {f"{s.name}.{n}": t for s in self.streams.values() for n, t in s.objective.state_dict().items()}
            path = checkpoint.save(folder, self.recipe, replace(state), metrics, self.tokenizer, weights, heads, known)
            self.kept[state.step] = score
            checkpoint.link(folder, "last", path)
            if best:
                checkpoint.link(folder, "best", path)
            for step in checkpoint.stale(self.kept, config.keep_last, config.keep_best, lower):
                checkpoint.remove(folder, step)
                del self.kept[step]
            yield Saved(state.step, path, best)
        parallel.barrier()

    def _stepped(self, watch: Watch, epoch: int, norm: float) -> Stepped:
        sums = parallel.sum_(watch.sums).cpu()
        losses = {".".join(k): float(s / t) for k, s, t in zip(self.keys, sums, watch.totals, strict=True) if t}
        lr = learning_rate(self.recipe.optim, self.state.step, self.recipe.train.max_update)
        figures, concerns = self._figures()
        event = Stepped(
            step=self.state.step, epoch=epoch, losses=losses, lr=lr, grad_norm=norm, targets=int(watch.totals.sum()),
            padding=1 - watch.real / max(1, watch.area), seconds=watch.seconds, loss_scale=self.scale.value,
            overflows=self.state.overflows, splits=self.state.splits, memory=peak_memory(self.device),
            searching=self._searching / max(watch.seconds, 1e-9), figures=figures, concerns=concerns,
        )  # fmt: skip
        watch.reset()
        self._searching = 0.0
        return event

    def _figures(self) -> tuple[dict[str, float], tuple[str, ...]]:
        """What the objectives have counted since the last report, over all processes, and what they make of it."""
        figures: dict[str, float] = {}
        concerns: list[str] = []
        for stream in self.streams.values():
            if names := stream.objective.figures:
                taken = stream.objective.take_figures()
                sums = parallel.sum_(torch.tensor([taken[n] for n in names], dtype=torch.float64, device=self.device)).tolist()
                own = {n: a / b for n, (a, b) in zip(names, sums, strict=True) if b}
                figures |= {f"{stream.name}.{n}": value for n, value in own.items()}
                concerns += [f"{stream.name}: {text}" for text in stream.objective.concerns(own)]
        return figures, tuple(concerns)


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
