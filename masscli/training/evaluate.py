"""Validation: loss with noise that never changes, and BLEU of real beam search on raw references.

Every process takes its share of the micro-batches; the sums are added up, so the loss does not depend on their number.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from masscli import parallel
from masscli.data.framing import Framing
from masscli.data.loader import Collation
from masscli.data.sampler import Sampler
from masscli.generation.translator import Translator
from masscli.models.transformer import Transformer
from masscli.objectives.base import Objective, Term
from masscli.recipe import GenerationConfig
from masscli.scoring import Score, bleu
from masscli.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ValidStream:
    """What is measured: an objective on the validation split."""

    name: str
    objective: Objective
    collation: Collation
    sampler: Sampler


@dataclass(frozen=True)
class BleuTask:
    """Translate a validation set and compare."""

    direction: tuple[str, str]
    sources: list[str]
    references: list[str]


def lower_is_better(metric: str) -> bool:
    """Losses and perplexity are better low, BLEU high."""
    return metric == "ppl" or metric.endswith("loss")


@dataclass(frozen=True)
class Validator:
    """Everything that is measured at a validation."""

    streams: tuple[ValidStream, ...]
    tasks: tuple[BleuTask, ...]
    tokenizer: Tokenizer
    framing: Framing
    beam: int
    lowercase: bool

    def __bool__(self) -> bool:
        return bool(self.streams)

    @property
    def names(self) -> list[str]:
        """The metrics that `measure` gives."""
        bleu = ["bleu", *(f"bleu.{'-'.join(task.direction)}" for task in self.tasks)] if self.tasks else []
        return ["loss", "ppl", *(f"{stream.name}.loss" for stream in self.streams), *bleu]

    @torch.no_grad()
    def measure(self, model: Transformer) -> tuple[dict[str, float], dict[str, str]]:
        """Metrics by name (`loss` and `ppl` over all streams, `STREAM.loss` of each, `bleu`), and the signatures of scores."""
        training = model.training
        model.eval()
        metrics = self._losses(model)
        scores = self._bleu(model)
        model.train(training)
        for task, score in zip(self.tasks, scores, strict=True):
            metrics[f"bleu.{'-'.join(task.direction)}"] = score.value
        if scores:
            metrics["bleu"] = sum(s.value for s in scores) / len(scores)
        return metrics, {f"bleu.{'-'.join(t.direction)}": s.signature for t, s in zip(self.tasks, scores, strict=True)}

    def _losses(self, model: Transformer) -> dict[str, float]:
        device = next(model.parameters()).device
        metrics: dict[str, float] = {}
        for stream in self.streams:
            stream.objective.eval()
            terms = list(stream.objective.weights)
            sums = torch.zeros(2, len(terms), dtype=torch.float64)
            for number, rows in enumerate(stream.sampler.epoch()):
                if number % parallel.world != parallel.rank:
                    continue
                batch = stream.objective.prepare(model, stream.collation(rows, 0).to(device))
                found: Mapping[str, Term] = stream.objective(model, batch)
                for i, term in enumerate(terms):
                    sums[0, i] += float(found[term].nll)
                    sums[1, i] += batch.counts[term]
            stream.objective.train()
            sums = parallel.sum_(sums.to(device)).cpu()
            per_target = sums[0] / sums[1].clamp(min=1)
            metrics[f"{stream.name}.loss"] = sum(float(v) * stream.objective.weights[t] for t, v in zip(terms, per_target, strict=True))
        metrics["loss"] = sum(metrics.values()) / len(self.streams)
        metrics["ppl"] = math.exp(min(metrics["loss"], 700.0))
        return metrics

    def _bleu(self, model: Transformer) -> list[Score]:
        if not self.tasks:
            return []
        values = torch.zeros(len(self.tasks), dtype=torch.float64, device=next(model.parameters()).device)
        scores: list[Score] = []
        if parallel.rank == 0:
            fast = model if model.compute == torch.float32 else copy.deepcopy(model).to(model.compute)
            for i, task in enumerate(self.tasks):
                translator = Translator([fast], self.tokenizer, self.framing, GenerationConfig(beam=self.beam))
                lines = [found[0].text for found in translator.translate(task.sources, *task.direction)]
                scores.append(bleu(lines, task.references, lowercase=self.lowercase))
                values[i] = scores[i].value
        parallel.broadcast(values)
        return scores or [Score(name="BLEU", value=float(v), signature="") for v in values]
