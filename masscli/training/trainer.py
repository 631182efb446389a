"""The loop, written once: micro-batches to gradients to updates, for every objective, alone or in many processes.

Contract (DESIGN, "Life of a batch"): an update is a list of U micro-batches that does not depend on the number of processes, and its
gradient (masscli/training/gradients.py) depends on nothing but the list, the seed and the number of the update.  So a run that was stopped
and continued, or spread over processes, learns the same thing.  With `reuse` n, n updates in a row learn from one list, which is prepared
once; nothing is saved, and no run ends, before the last of them, so nothing of it must be.

The trainer yields events and prints nothing; it knows no objective by name.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from masscli.checkpoint import checkpoint
from masscli.checkpoint.checkpoint import RunState
from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.data.batches.loader import PlannedBatch, PreparedBatch, load, plan
from masscli.text.tokenizer import Tokenizer
from masscli.training.events import Evaluated, Event, Finished, Saved, Stepped
from masscli.training.fsdp import Pass, gather, local, total_norm, whole
from masscli.training.gradients import Gradients
from masscli.training.metric_averager import Watch, peak_memory
from masscli.training.optim import LossScale, learning_rate, moments
from masscli.training.recipe import Recipe
from masscli.training.signals import Signals
from masscli.training.stream import Stream
from masscli.training.validation import Validator, lower_is_better

PATIENCE_FOR_DIVERGENCE = 50  # updates in a row with a loss far above the first before a run is given up


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
        self.recipe, self.folder, self.through, self.model, self.tokenizer = (
            recipe,
            folder,
            through,
            through.model,
            tokenizer,
        )
        self.streams = {s.name: s for s in streams}
        self.validator, self.optimizer, self.state, self.kept = validator, optimizer, state, dict(kept)
        self.device = next(self.model.parameters()).device
        heads = ((f"objective.{s.name}.{n}", p) for s in streams for n, p in s.objective.named_parameters())
        named = [*self.model.named_parameters(), *heads]
        self.names = {p: n for n, p in named if p.requires_grad}
        self.scale = LossScale(self.model.compute_dtype == torch.float16, state.loss_scale, state.clean)
        self.gradients = Gradients(recipe, through, self.streams, list(self.names), self.scale, state)
        self.signals = Signals()
        self._far = 0
        self._first_loss: float | None = None

    # -- the loop --------------------------------------------------------------------------------------------------------------------

    def run(self) -> Iterator[Event]:
        """Train until the recipe says stop, yielding what happens."""
        self.model.train()
        for stream in self.streams.values():
            stream.objective.train()
        began, before = time.monotonic(), self.state.seconds
        watch = Watch(len(self.gradients.keys), self.device)
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

    def _updates(self) -> Iterator[tuple[list[PlannedBatch], list[PreparedBatch]]]:
        """The jobs of each coming update, and this process's share of them, prepared; the same ones `reuse` times."""
        samplers = {n: s.sampler for n, s in self.streams.items()}
        train, state = self.recipe.train, self.state
        reuse, first = train.batch_reuse, self.state.step // train.batch_reuse

        def shares(turn: int) -> dict[str, float]:
            """A stream whose weight is 0 is not drawn (all are, where all weigh nothing)."""
            heavy = {n: s.share for n, s in self.streams.items() if s.weight.value_at(turn * reuse)}
            return {n: heavy.get(n, 0.0) if heavy else s.share for n, s in self.streams.items()}

        def jobs() -> Iterator[PlannedBatch]:
            return plan(samplers, shares, self.recipe.seed, state.update_freq, first, state.positions)

        batch_builders = {n: s.batch_builder for n, s in self.streams.items()}
        last = None if train.max_update is None else train.max_update // reuse - 1
        if last is not None and first > last:
            return
        mine = load(
            batch_builders,
            jobs(),
            rank=distributed.rank,
            world=distributed.world_size,
            last_draw=last,
            workers=train.num_workers,
        )
        for turn, group in groupby(jobs(), key=lambda job: job.draw):
            if last is not None and turn > last:
                return
            planned = list(group)
            prepared = [
                next(mine) for job in planned if job.micro % distributed.world_size == distributed.rank
            ]
            self.gradients.forget()
            for _ in range(reuse):
                yield planned, prepared

    def _over(self, jobs: Sequence[PlannedBatch], seconds: float) -> str:
        train, patience = self.recipe.train, self.recipe.checkpoint.patience
        if patience and self.state.stale >= patience:
            return f"no better {self.recipe.checkpoint.best_metric} in {self.state.stale} validations"
        first = next(iter(self.streams))
        if train.max_epoch is not None and any(
            j.stream == first and j.epoch >= train.max_epoch for j in jobs
        ):
            return f"read {first} {train.max_epoch} times"
        if train.stop_time_hours is not None:
            over = torch.tensor(float(seconds >= train.stop_time_hours * 3600), device=self.device)
            if float(distributed.broadcast(over)):
                return f"{train.stop_time_hours} hours are over"
        return ""

    def _between(self) -> bool:
        """The next update has a list of its own."""
        return self.state.step % self.recipe.train.batch_reuse == 0

    def _due(self, interval: int) -> bool:
        """At the first chance after so many updates."""
        return self._between() and self.state.step % interval < self.recipe.train.batch_reuse

    def _agreed_to_stop(self) -> int:
        """The signal that ends the run, 0 for none; every process comes to know of it after the same update, whichever was sent it."""
        mine = self.signals.told  # read once: it may come between the lines
        anyone = float(distributed.all_reduce_sum(torch.tensor(float(mine), device=self.device)))
        return mine or (signal.SIGTERM if anyone else 0)

    # -- one update ------------------------------------------------------------------------------------------------------------------

    def _update(self, jobs: Sequence[PlannedBatch], prepared: Sequence[PreparedBatch], watch: Watch) -> float:
        """Learn from one list of micro-batches; returns the norm of the gradient."""
        lr = learning_rate(self.recipe.optim, self.state.step, self.recipe.train.max_update)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        if self._between():
            for stream in self.streams.values():
                stream.objective.begin_update(self.model, self.state.step)
        sums, totals = self.gradients.of(prepared)
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
        self.state.positions.update({job.stream: job.next_position for job in jobs})
        if learned:
            self.state.targets += int(totals.sum())
            self._watch_divergence(sums, totals)
            watch.add(sums, totals, prepared)
        return norm

    def _norm(self) -> float:
        return total_norm((p.grad for p in self.names if p.grad is not None), self.device) / self.scale.value

    def _step(self, norm: float) -> None:
        clip = self.recipe.optim.clip_norm
        shrink = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
        if shrink / self.scale.value != 1.0:
            torch._foreach_mul_(
                [local(p.grad) for p in self.names if p.grad is not None], shrink / self.scale.value
            )
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
        broken = [
            n
            for p, n in self.names.items()
            if p.grad is not None and not bool(torch.isfinite(local(p.grad)).all())
        ]
        each = zip(self.gradients.keys, sums, totals, strict=True)
        losses = ", ".join(f"{'.'.join(key)} {float(s / t):.3g}" for key, s, t in each if t)
        raise MasscliError(
            f"update {self.state.step + 1}: the gradient is {norm} (losses: {losses}; first bad tensor: {broken[0] if broken else 'none'})",
            f"lower --lr or set --clip-norm; {self._refuge()}",
        )

    def _refuge(self) -> str:
        """What is left of a run that failed."""
        last = self.folder / "checkpoints" / "last"
        return (
            f"the run continues from {last}, where all is well"
            if self.kept
            else "nothing was saved yet: the run begins anew"
        )

    def _watch_divergence(self, sums: Tensor, totals: Tensor) -> None:
        loss = float(sums.sum()) / max(1.0, float(totals.sum())) * distributed.world_size
        self._first_loss = (
            max(loss, math.log(self.model.vocab_size)) if self._first_loss is None else self._first_loss
        )
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
        best = score is not None and (
            state.best is None or (score < state.best if lower else score > state.best)
        )
        if score is not None:
            state.best, state.stale = (score, 0) if best else (state.best, state.stale + 1)
        state.loss_scale, state.clean = self.scale.value, self.scale.clean
        weights, known = gather(self.model.state_dict()), gather(moments(self.optimizer, self.names))
        if distributed.rank == 0:
            folder = self.folder / "checkpoints"
            heads = {
                f"{s.name}.{n}": t for s in self.streams.values() for n, t in s.objective.state_dict().items()
            }
            path = checkpoint.save(
                folder, self.recipe, replace(state), metrics, self.tokenizer, weights, heads, known
            )
            self.kept[state.step] = score
            checkpoint.link(folder, "last", path)
            if best:
                checkpoint.link(folder, "best", path)
            for step in checkpoint.stale(self.kept, config.keep_last, config.keep_best, lower):
                checkpoint.remove(folder, step)
                del self.kept[step]
            yield Saved(state.step, path, best)
        distributed.barrier()

    def _stepped(self, watch: Watch, epoch: int, norm: float) -> Stepped:
        sums = distributed.all_reduce_sum(watch.sums).cpu()
        losses = {
            ".".join(k): float(s / t)
            for k, s, t in zip(self.gradients.keys, sums, watch.totals, strict=True)
            if t
        }
        lr = learning_rate(self.recipe.optim, self.state.step - 1, self.recipe.train.max_update)
        figures, concerns = self._figures()
        event = Stepped(
            step=self.state.step, epoch=epoch, losses=losses, lr=lr, grad_norm=norm, targets=int(watch.totals.sum()),
            padding=1 - watch.real / max(1, watch.area), seconds=watch.seconds, loss_scale=self.scale.value,
            overflows=self.state.overflows, splits=self.state.splits, memory=peak_memory(self.device),
            searching=self.gradients.searching / max(watch.seconds, 1e-9), figures=figures, concerns=concerns,
        )  # fmt: skip
        watch.reset()
        self.gradients.searching = 0.0
        return event

    def _figures(self) -> tuple[dict[str, float], tuple[str, ...]]:
        """What the objectives have counted since the last report, over all processes, and what they make of it."""
        figures: dict[str, float] = {}
        concerns: list[str] = []
        for stream in self.streams.values():
            if names := stream.objective.training_metrics:
                taken = stream.objective.take_training_metrics()
                sums = distributed.all_reduce_sum(
                    torch.tensor([taken[n] for n in names], dtype=torch.float64, device=self.device)
                ).tolist()
                own = {n: a / b for n, (a, b) in zip(names, sums, strict=True) if b}
                figures |= {f"{stream.name}.{n}": value for n, value in own.items()}
                concerns += [f"{stream.name}: {text}" for text in stream.objective.training_warnings(own)]
        return figures, tuple(concerns)
