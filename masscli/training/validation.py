"""Validation: loss with noise that never changes, measures of the objectives that are judged by their outputs, and BLEU and ROUGE of
real beam search on raw references.

Every process takes its share of the micro-batches and of the lines to translate; sums are added up and lines put together again, so that
nothing depends on the number of processes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.data.batches.framing import Framing
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sampler import BatchSampler
from masscli.data.batches.sequences import Truncation
from masscli.data.storage.tables import Table
from masscli.generation.config import GenerationConfig
from masscli.generation.inference_copy import inference_copy
from masscli.generation.retrieval import precision_at_1, sentence_vectors
from masscli.generation.single_stack_decoding import extract_stack
from masscli.generation.translator import Translator
from masscli.metrics import METRIC_FAMILIES, Score, bleu, rouge_scores
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Objective, Term
from masscli.objectives.shared.evaluable_objective import (
    EvaluableObjective,
    ExampleOutput,
    PredictiveObjective,
)
from masscli.text.tokenizer import Tokenizer
from masscli.training.metric_averager import out_of_memory

T = TypeVar("T")


@dataclass(frozen=True)
class ValidStream:
    """What is measured: an objective on the validation split."""

    name: str
    objective: Objective
    batch_builder: BatchBuilder
    sampler: BatchSampler
    table: Table | None = None
    """Labelled examples, where outputs are judged and not only losses."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the terms' own losses, where there are several."""
        terms = tuple(self.objective.weights)
        return tuple(f"{self.name}.{term}.loss" for term in terms) if len(terms) > 1 else ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is measured besides the loss."""
        return (
            self.objective.metric_names
            if isinstance(self.objective, EvaluableObjective) and self.table is not None
            else ()
        )


@dataclass(frozen=True)
class BleuTask:
    """Translate a validation set and compare.  `path` are the languages it goes through: (en, de), or there and back, (de, en, de).

    What only copies comes back unharmed: a line that the first of two steps leaves as it is counts as lost.
    """

    path: tuple[str, ...]
    sources: list[str]
    references: list[str]
    allowed: Mapping[str, Tensor] = field(default_factory=dict)
    """For a language, the (V,) pieces that may be written in it: those of back-translation, so that it is judged as it works."""
    by_encoder: bool = False
    """Whether an encoder writes, whatever the model has beside it."""

    @property
    def metric(self) -> str:
        """`roundtrip` for what returns to its language, else `bleu`."""
        return "roundtrip" if self.path[0] == self.path[-1] else "bleu"

    @property
    def name(self) -> str:
        """The metric of this task alone."""
        return f"{self.metric}.{'-'.join(self.path)}"


@dataclass(frozen=True)
class RougeTask:
    """Write from the sources of a stream's validation set, at most `longest` pieces each, and compare."""

    stream: str
    language: str
    sources: Sequence[str]
    references: Sequence[str]
    cut: Truncation
    longest: int
    by_encoder: bool


@dataclass(frozen=True)
class RetrievalTask:
    """Find the translation of each validation sentence, in both directions."""

    pair: tuple[str, str]
    sides: tuple[list[Ids], list[Ids]]

    @property
    def names(self) -> tuple[str, str]:
        """The metrics of both directions."""
        return f"retrieval.{'-'.join(self.pair)}", f"retrieval.{'-'.join(self.pair[::-1])}"


def lower_is_better(metric: str) -> bool:
    """Losses and perplexity are better low, all else high."""
    return metric.rpartition(".")[2].startswith("ppl") or metric.endswith("loss")


@torch.no_grad()
def judge(
    model: Transformer, objective: EvaluableObjective, batch_builder: BatchBuilder, sampler: BatchSampler
) -> list[ExampleOutput]:
    """The outputs for every row of a view, whichever process made them."""
    device = next(model.parameters()).device
    mine: dict[int, ExampleOutput] = {}

    def outputs(rows: Ids) -> list[ExampleOutput]:
        return objective.forward_outputs(model, objective.prepare(model, batch_builder(rows, 0).to(device)))

    for number, rows in enumerate(sampler.epoch()):
        if number % distributed.world_size == distributed.rank:
            mine.update(zip(rows.tolist(), chain.from_iterable(in_pieces(rows, outputs)), strict=True))
    return gathered(mine, sampler.num_examples, device)


def in_pieces(rows: Ids, work: Callable[[Ids], T]) -> list[T]:
    """What `work` makes of some rows; for want of memory, of one half and then of the other.  MasscliError where it is a single one."""
    try:
        return [work(rows)]
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        if len(rows) == 1:
            hint = "use a smaller model, or shorter examples to validate on"
            raise MasscliError("validation: not enough memory for a single example", hint) from None
    return [found for half in np.array_split(rows, 2) for found in in_pieces(half, work)]


def gathered(mine: Mapping[int, ExampleOutput], rows: int, device: torch.device) -> list[ExampleOutput]:
    """The numbers of every row, whichever process has them."""
    sizes = torch.zeros(rows, dtype=torch.int64, device=device)
    for row, output in mine.items():
        sizes[row] = len(output)
    ends = torch.cumsum(distributed.all_reduce_sum(sizes).cpu(), 0).tolist()
    values = torch.zeros(ends[-1] if ends else 0, dtype=torch.float64, device=device)
    for row, output in mine.items():
        values[ends[row] - len(output) : ends[row]] = torch.from_numpy(output)
    flat = distributed.all_reduce_sum(values).cpu().numpy()
    return [flat[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


@dataclass(frozen=True)
class Validator:
    """Everything that is measured at a validation."""

    streams: tuple[ValidStream, ...]
    tasks: tuple[BleuTask, ...]
    rouges: tuple[RougeTask, ...]
    retrievals: tuple[RetrievalTask, ...]
    tokenizer: Tokenizer
    framing: Framing
    beam: int
    lowercase: bool

    def __bool__(self) -> bool:
        return bool(self.streams)

    @property
    def names(self) -> list[str]:
        """The metrics that `measure` gives."""
        scores = [*dict.fromkeys(task.metric for task in self.tasks), *(task.name for task in self.tasks)]
        found = (
            ["retrieval", *(name for task in self.retrievals for name in task.names)]
            if self.retrievals
            else []
        )
        judged = [f"{stream.name}.{metric}" for stream in self.streams for metric in stream.metrics]
        alone = [
            metric
            for metric, count in Counter(m for s in self.streams for m in s.metrics).items()
            if count == 1
        ]
        losses = [name for stream in self.streams for name in (f"{stream.name}.loss", *stream.parts)]
        places = ["", *(f"{task.stream}." for task in self.rouges)] if self.rouges else []
        rouges = [f"{place}{metric}" for place in places for metric in METRIC_FAMILIES["rouge"]]
        return [
            "loss",
            *(["ppl"] if self._one_term else []),
            *losses,
            *alone,
            *judged,
            *scores,
            *rouges,
            *found,
        ]

    @property
    def _one_term(self) -> bool:
        """Perplexity is of one cross-entropy of text, not of a weighted sum, nor of labels."""
        return not any(
            stream.parts or isinstance(stream.objective, PredictiveObjective) for stream in self.streams
        )

    @torch.no_grad()
    def measure(self, model: Transformer) -> tuple[dict[str, float], dict[str, str]]:
        """Metrics by name (`loss` and `ppl` over all streams, `STREAM.loss` of each, `STREAM.TERM.loss` of its terms, `bleu`), and the
        signatures of scores."""
        training = model.training
        model.eval()
        metrics = self._losses(model) | self._measures(model)
        scores = self._bleu(model)
        written = self._rouge(model)
        metrics |= self._retrieval(model)
        model.train(training)
        for kind in dict.fromkeys(task.metric for task in self.tasks):
            found = {t.name: s.value for t, s in zip(self.tasks, scores, strict=True) if t.metric == kind}
            metrics |= {**found, kind: sum(found.values()) / len(found)}
        signatures = {t.name: s.signature for t, s in zip(self.tasks, scores, strict=True)}
        for metric in METRIC_FAMILIES["rouge"] if self.rouges else ():
            each = {
                f"{task.stream}.{metric}": found[metric]
                for task, found in zip(self.rouges, written, strict=True)
            }
            metrics |= {
                **{name: s.value for name, s in each.items()},
                metric: sum(s.value for s in each.values()) / len(each),
            }
            signatures |= {name: s.signature for name, s in each.items()}
        return metrics, signatures

    def _losses(self, model: Transformer) -> dict[str, float]:
        device = next(model.parameters()).device
        metrics: dict[str, float] = {}
        parts: dict[str, float] = {}
        for stream in self.streams:
            stream.objective.eval()
            terms = list(stream.objective.weights)
            sums = torch.zeros(2, len(terms), dtype=torch.float64)

            def summed(rows: Ids, stream: ValidStream = stream, terms: list[str] = terms) -> Tensor:
                batch = stream.objective.prepare(model, stream.batch_builder(rows, 0).to(device))
                found: Mapping[str, Term] = stream.objective(model, batch)
                return torch.tensor(
                    [[float(found[t].nll) for t in terms], [batch.counts[t] for t in terms]],
                    dtype=torch.float64,
                )

            for number, rows in enumerate(stream.sampler.epoch()):
                if number % distributed.world_size != distributed.rank:
                    continue
                sums += torch.stack(in_pieces(rows, summed)).sum(0)
            stream.objective.train()
            sums = distributed.all_reduce_sum(sums.to(device)).cpu()
            if not sums[1].any():
                hint = "preprocess more text to validate on, or have more of it predicted (--mask-prob)"
                raise MasscliError(
                    f"validation: nothing is to be predicted in {stream.sampler.num_examples} examples of {stream.name}",
                    hint,
                )
            per_target = sums[0] / sums[1].clamp(min=1)
            metrics[f"{stream.name}.loss"] = sum(
                float(v) * stream.objective.weights[t] for t, v in zip(terms, per_target, strict=True)
            )
            if stream.parts:
                parts |= dict(zip(stream.parts, per_target.tolist(), strict=True))
        metrics["loss"] = sum(metrics.values()) / len(self.streams)
        if self._one_term:
            metrics["ppl"] = math.exp(min(metrics["loss"], 700.0))
        return metrics | parts

    def _retrieval(self, model: Transformer) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for task in self.retrievals:
            a, b = (
                sentence_vectors(model, self.framing, x, side)
                for x, side in zip(task.sides, task.pair, strict=True)
            )
            metrics |= dict(zip(task.names, (precision_at_1(a, b), precision_at_1(b, a)), strict=True))
        return {**metrics, "retrieval": sum(metrics.values()) / len(metrics)} if metrics else {}

    def _measures(self, model: Transformer) -> dict[str, float]:
        """`STREAM.METRIC` of every objective that is judged by its outputs; `METRIC` alone where that is clear."""
        found: dict[str, float] = {}
        for stream in self.streams:
            if isinstance(stream.objective, EvaluableObjective) and stream.table is not None:
                stream.objective.eval()
                outputs = judge(model, stream.objective, stream.batch_builder, stream.sampler)
                found |= {
                    f"{stream.name}.{metric}": value
                    for metric, value in stream.objective.compute_metrics(stream.table, outputs).items()
                }
                stream.objective.train()
        return found | {
            name.rpartition(".")[2]: value
            for name, value in found.items()
            if name.rpartition(".")[2] in self.names
        }

    def _bleu(self, model: Transformer) -> list[Score]:
        """Every process translates its share of the lines; what is compared are their bytes, put together again."""
        fast = inference_copy(model) if self.tasks else model
        device, scores = next(model.parameters()).device, []
        for task in self.tasks:
            config = GenerationConfig(beam=self.beam if task.metric == "bleu" else 1)
            own = range(distributed.rank, len(task.sources), distributed.world_size)
            sources = [task.sources[i] for i in own]
            lines, writer = sources, extract_stack(fast, "encoder") if task.by_encoder else fast
            for number, hop in enumerate(pairwise(task.path)):
                translator = Translator(
                    [writer], self.tokenizer, self.framing, config, allowed=task.allowed.get(hop[1])
                )
                lines = [found[0].text for found in translator.translate(lines, *hop)]
                if number == 0 and task.metric == "roundtrip":
                    copies = (self._spelt(read, *hop) for read in sources)
                    lines = [
                        "" if written.split() == copy.split() else written
                        for written, copy in zip(lines, copies, strict=True)
                    ]
            references = self.tokenizer.preprocessing.map_letters(task.references, task.path[-1])
            found = bleu(
                together(own, lines, len(task.sources), device), references, lowercase=self.lowercase
            )
            plain = self.tokenizer.preprocessing.romanian if task.path[-1] == "ro" else None
            scores.append(replace(found, signature=f"{found.signature}|romanian:{plain}") if plain else found)
        return scores

    def _spelt(self, line: str, read: str, written: str) -> str:
        """A line of one language as a model writes it that copies it into another."""
        return self.tokenizer.decode(self.tokenizer.encode(line, read), written)

    def _rouge(self, model: Transformer) -> list[dict[str, Score]]:
        """Every process writes its share."""
        fast = inference_copy(model) if self.rouges else model
        device, scores = next(model.parameters()).device, []
        for task in self.rouges:
            config = GenerationConfig(beam=self.beam, max_len_a=0, max_len_b=task.longest)
            own = range(distributed.rank, len(task.sources), distributed.world_size)
            writer = extract_stack(fast, "encoder") if task.by_encoder else fast
            translator = Translator([writer], self.tokenizer, self.framing, config, truncation=task.cut)
            found = translator.translate([task.sources[i] for i in own], task.language, task.language)
            lines = [best.text for best, *_ in found]
            scores.append(rouge_scores(together(own, lines, len(task.sources), device), task.references))
        return scores


def together(own: range, lines: Sequence[str], count: int, device: torch.device) -> list[str]:
    """The lines of every process; `lines` are those of this one, `own` their places."""
    mine = {
        i: np.frombuffer(line.encode(), np.uint8).astype(np.float64)
        for i, line in zip(own, lines, strict=True)
    }
    return [line.astype(np.uint8).tobytes().decode() for line in gathered(mine, count, device)]
