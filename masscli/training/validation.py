"""Validation: losses, metrics of predictions, BLEU and ROUGE of beam search outputs, and probes of the model.

Every process takes its share of the batches and of the lines to translate, and results are exchanged, so that
they do not depend on the number of processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.data.batches.framing import Framing
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sampler import BatchSampler
from masscli.data.storage.tables import Table
from masscli.generation.inference_copy import inference_copy
from masscli.metrics import Score
from masscli.metrics.perplexity import perplexity
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Objective
from masscli.objectives.shared.evaluable_objective import (
    EvaluableObjective,
    PredictiveObjective,
)
from masscli.text.tokenizer import Tokenizer
from masscli.training.evaluate_outputs import evaluate_outputs, with_less_memory
from masscli.training.events import Sample
from masscli.training.validation_tasks import GenerationTask, Probe


def lower_is_better(metric: str) -> bool:
    """Return whether a metric, by its name, is a loss or a perplexity.

    All other metrics are better when they are higher.
    """
    return metric.rpartition(".")[2].startswith("ppl") or metric.endswith("loss")


@dataclass(frozen=True)
class ValidationStream:
    """The validation examples of one training stream in one split, with the objective of the stream."""

    name: str
    objective: Objective
    batch_builder: BatchBuilder
    sampler: BatchSampler
    table: Table | None = None
    """The labeled examples, if the objective's predictions are evaluated; None if only losses are
    measured."""

    @property
    def term_losses(self) -> tuple[str, ...]:
        """Return the names of the losses of single terms, such as `STREAM.TERM.loss`.

        There are none if a single term of the objective is measured.
        """
        terms = self.objective.validated_terms
        if len(terms) == 1:
            return ()
        return tuple(f"{self.name}.{term}.loss" for term in terms)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the names of the metrics of predictions; none if only losses are measured."""
        if isinstance(self.objective, EvaluableObjective) and self.table is not None:
            return self.objective.metric_names
        return ()


@dataclass(slots=True)
class ValidationResult:
    """The result of a validation: metrics by name, with signatures and sample outputs."""

    metrics: dict[str, float]
    signatures: dict[str, str] = field(default_factory=dict)
    """How a metric was computed, by its name, for those metrics that have a signature."""
    samples: tuple[Sample, ...] = ()
    """Outputs for a few lines of each task that generates text."""

    def add_scores(self, scores: Mapping[str, Score]) -> None:
        """Add the values and signatures of scores, by metric."""
        for name, score in scores.items():
            self.metrics[name] = score.value
            self.signatures[name] = score.signature

    def add_split(self, split: str, other: ValidationResult) -> None:
        """Add the result of another split, with `split.` in front of its metrics, also in its samples."""
        for name, value in other.metrics.items():
            self.metrics[f"{split}.{name}"] = value
        for name, signature in other.signatures.items():
            self.signatures[f"{split}.{name}"] = signature
        for sample in other.samples:
            self.samples += (replace(sample, task=f"{split}.{sample.task}"),)


@dataclass(frozen=True)
class Validator:
    """Computes everything that is measured at a validation.

    Its truth value is false if there are no validation examples.
    """

    streams: tuple[ValidationStream, ...]
    generation_tasks: tuple[GenerationTask, ...]
    probes: tuple[Probe, ...]
    tokenizer: Tokenizer
    framing: Framing
    beam: int
    others: Mapping[str, Validator] = field(default_factory=dict)
    """The validators of further splits, by split; the names of their metrics begin with the split."""

    def __bool__(self) -> bool:
        return bool(self.streams)

    @property
    def names(self) -> list[str]:
        """Return the names of all metrics that `measure` returns, those of further splits included."""
        names = self._own_names
        for split, other in self.others.items():
            names += [f"{split}.{name}" for name in other.names]
        return names

    @property
    def _own_names(self) -> list[str]:
        """Return the names of the metrics of this validator's own split, in the order of reports."""
        names = ["loss"]
        if self._has_perplexity:
            names.append("ppl")
        for stream in self.streams:
            names += [f"{stream.name}.loss", *stream.term_losses]
        names += self._unambiguous_metrics
        for stream in self.streams:
            names += [f"{stream.name}.{metric}" for metric in stream.metrics]
        # Several tasks share a metric, whose mean has one name.
        for task in self.generation_tasks:
            names += [metric for metric in task.metrics if metric not in names]
        for task in self.generation_tasks:
            names += [task.score_name(metric) for metric in task.metrics]
        # Probes of one kind share a mean, which has a name of its own.
        names += dict.fromkeys(probe.mean for probe in self.probes if probe.mean)
        for probe in self.probes:
            names += probe.names
        return names

    @property
    def _has_perplexity(self) -> bool:
        """Return whether the mean loss is a cross-entropy of text, so that it has a perplexity.

        This is not so if an objective has several loss terms, or predicts labels.
        """
        for stream in self.streams:
            if stream.term_losses or isinstance(stream.objective, PredictiveObjective):
                return False
        return True

    @property
    def _unambiguous_metrics(self) -> list[str]:
        """Return the metrics of predictions that only one stream has, so that its name can be left out."""
        counts: Counter[str] = Counter()
        for stream in self.streams:
            counts.update(stream.metrics)
        return [metric for metric, count in counts.items() if count == 1]

    @torch.no_grad()
    def measure(
        self, model: Transformer, between_parts: Callable[[], None] = lambda: None
    ) -> ValidationResult:
        """Return all metrics by name, the signatures of those that have one, and sample outputs.

        `loss` is the mean over the streams and `ppl` its exponential; `STREAM.loss` is of each stream, and
        `STREAM.TERM.loss` of its terms; `bleu`, `rouge-1` and so on are means over tasks, `bleu.en-de` and
        the like of each. All processes must call this together. The model keeps its mode (training or not).

        `between_parts` is called before each part of the work, by all processes together. What it raises ends
        the validation; model and objectives are then left in any mode.
        """
        # The trainer lends its model, and gets it back in the mode that it was in.
        was_training = model.training
        model.eval()
        between_parts()
        result = ValidationResult(self._losses(model))
        between_parts()
        result.metrics |= self._prediction_metrics(model)
        self._measure_generation(model, result, between_parts)
        between_parts()
        result.metrics |= self._probe(model)
        model.train(was_training)
        for split, other in self.others.items():
            result.add_split(split, other.measure(model, between_parts))
        return result

    def _losses(self, model: Transformer) -> dict[str, float]:
        """Return the losses of all streams and terms, their mean `loss`, and `ppl` if it is defined."""
        metrics: dict[str, float] = {}
        term_losses: dict[str, float] = {}
        for stream in self.streams:
            losses = self._losses_by_term(model, stream)
            # The same weights as in training, so that both losses can be compared.
            weights = stream.objective.weights
            metrics[f"{stream.name}.loss"] = sum(
                loss * weights[term] for term, loss in losses.items()
            )
            if stream.term_losses:
                term_losses |= dict(
                    zip(stream.term_losses, losses.values(), strict=True)
                )
        # Losses of single terms are added afterwards, so they are not part of the mean.
        metrics["loss"] = sum(metrics.values()) / len(self.streams)
        if self._has_perplexity:
            metrics["ppl"] = perplexity(metrics["loss"], 1)
        return metrics | term_losses

    def _losses_by_term(
        self, model: Transformer, stream: ValidationStream
    ) -> dict[str, float]:
        """Return the mean loss of each term of a stream in nats per target; 0 if it has no target.

        Raises MasscliError if no term has any target. All processes must call this together.
        """
        objective = stream.objective
        device = next(model.parameters()).device
        terms = objective.validated_terms

        def sums_and_counts(numbers: Ids) -> Tensor:
            """Return (2, terms): the summed losses and the target counts of the examples `numbers`."""
            batch = objective.prepare(
                model, stream.batch_builder(numbers, 0).to(device)
            )
            losses = objective(model, batch)
            sums = [float(losses[term].nll) for term in terms]
            counts = [batch.counts[term] for term in terms]
            return torch.tensor([sums, counts], dtype=torch.float64)

        # Objectives have dropout of their own, in heads and generators.
        objective.eval()
        # float64, so that the order of batches and processes hardly changes the sum.
        totals = torch.zeros(2, len(terms), dtype=torch.float64)
        for position, numbers in enumerate(stream.sampler.epoch()):
            # Every process draws the same batches, and takes those of its turn.
            if position % distributed.world_size == distributed.rank:
                totals += torch.stack(with_less_memory(numbers, sums_and_counts)).sum(0)
        objective.train()
        loss_sums, target_counts = distributed.all_reduce_sum(totals.to(device)).cpu()
        if not target_counts.any():
            raise MasscliError(
                f"validation: none of the {stream.sampler.num_examples} examples "
                f"of {stream.name} has a target",
                "preprocess more text to validate on, or have more of it predicted (--mask-prob)",
            )
        # A term without a target has loss 0.
        means = (loss_sums / target_counts.clamp(min=1)).tolist()
        return dict(zip(terms, means, strict=True))

    def _prediction_metrics(self, model: Transformer) -> dict[str, float]:
        """Return the metrics of predictions as `STREAM.METRIC`, and as `METRIC` if only one stream has it."""
        metrics: dict[str, float] = {}
        unambiguous: dict[str, float] = {}
        names = self._unambiguous_metrics
        for stream in self.streams:
            if (
                not isinstance(stream.objective, EvaluableObjective)
                or stream.table is None
            ):
                continue
            stream.objective.eval()
            outputs = evaluate_outputs(
                model, stream.objective, stream.batch_builder, stream.sampler
            )
            stream.objective.train()
            for metric, value in stream.objective.compute_metrics(
                stream.table, outputs
            ).items():
                metrics[f"{stream.name}.{metric}"] = value
                if metric in names:
                    unambiguous[metric] = value
        return metrics | unambiguous

    def _measure_generation(
        self,
        model: Transformer,
        result: ValidationResult,
        between_parts: Callable[[], None],
    ) -> None:
        """Run all tasks that generate text; add their scores, the means by metric and samples to `result`.

        `between_parts` is called before each task.
        """
        if not self.generation_tasks:
            return
        # One copy in the compute dtype serves all tasks.
        copy = inference_copy(model)
        values: dict[str, list[float]] = {}
        for task in self.generation_tasks:
            between_parts()
            generated = task.measure(copy, self.tokenizer, self.framing, self.beam)
            result.samples += generated.samples
            for metric, score in generated.scores.items():
                result.add_scores({task.score_name(metric): score})
                values.setdefault(metric, []).append(score.value)
        for metric, scores in values.items():
            result.metrics[metric] = sum(scores) / len(scores)

    def _probe(self, model: Transformer) -> dict[str, float]:
        """Return the metrics of all probes, and the mean over the probes of each kind that has one."""
        metrics: dict[str, float] = {}
        values: dict[str, list[float]] = {}
        for probe in self.probes:
            measured = probe.measure(model)
            metrics |= measured
            if probe.mean:
                values.setdefault(probe.mean, []).extend(measured.values())
        for mean, numbers in values.items():
            metrics[mean] = sum(numbers) / len(numbers)
        return metrics
