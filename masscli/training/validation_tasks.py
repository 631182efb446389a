"""Measurements of a validation besides losses: translations, other generated text, sentence retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from masscli.core import distributed
from masscli.data.batches.batch import Ids
from masscli.data.batches.framing import Framing
from masscli.data.batches.sequences import Truncation
from masscli.generation.config import GenerationConfig
from masscli.generation.retrieval import precision_at_1, sentence_vectors
from masscli.generation.single_stack_decoding import extract_stack
from masscli.generation.translator import Translator
from masscli.metrics import Score, bleu, rouge_scores
from masscli.models.transformer import Transformer
from masscli.text.tokenizer import Tokenizer
from masscli.training.evaluate_outputs import exchange_lines
from masscli.training.events import Sample


class Translated(NamedTuple):
    """The scores of a task by the names of their metrics, and its outputs for a few lines."""

    scores: dict[str, Score]
    samples: tuple[Sample, ...]


def take_samples(
    task: str, sources: Sequence[str], references: Sequence[str], outputs: Sequence[str], count: int
) -> tuple[Sample, ...]:
    """Return the outputs for `count` lines that are spread evenly over a validation set."""
    count = min(count, len(sources))
    numbers = [position * len(sources) // count for position in range(count)]
    return tuple(Sample(task, sources[i], references[i], outputs[i]) for i in numbers)


@dataclass(frozen=True)
class TranslationTask:
    """Translate a validation set and compute BLEU.

    `path` holds the languages that a line goes through: (en, de), or there and back, (de, en, de). A model
    that only copies would return every line unharmed, so a line that the first of two steps leaves as it is
    counts as lost.
    """

    path: tuple[str, ...]
    sources: list[str]
    references: list[str]
    allowed: Mapping[str, Tensor] = field(default_factory=dict)
    """For a language, a (V,) mask of the pieces that may be written in it. Those of back-translation, so that
    it is measured as it works."""
    by_encoder: bool = False
    """Whether the encoder writes, whatever the model has beside it."""
    samples: int = 0
    """How many outputs are kept."""

    @property
    def metric(self) -> str:
        """Return `roundtrip` for a path that returns to its language, else `bleu`."""
        return "roundtrip" if self.path[0] == self.path[-1] else "bleu"

    @property
    def name(self) -> str:
        """Return the name of the metric for this task alone."""
        return f"{self.metric}.{'-'.join(self.path)}"

    def measure(
        self, model: Transformer, tokenizer: Tokenizer, framing: Framing, beam: int, lowercase: bool
    ) -> Translated:
        """Return the BLEU of the translations; every process translates a part of the lines."""
        # Round trips are searched greedily, as back-translation writes.
        if self.metric == "roundtrip":
            beam = 1
        config = GenerationConfig(beam=beam)
        writer = extract_stack(model, "encoder") if self.by_encoder else model
        # Lines are dealt out in turn, so that long and short ones spread over the processes.
        mine = range(distributed.rank, len(self.sources), distributed.world_size)
        sources = [self.sources[number] for number in mine]
        lines = sources
        for step, (source, target) in enumerate(pairwise(self.path)):
            translator = Translator([writer], tokenizer, framing, config, allowed=self.allowed.get(target))
            outputs = translator.translate(lines, source, target)
            lines = [hypotheses[0].text for hypotheses in outputs]
            if step == 0 and self.metric == "roundtrip":
                lines = _without_copies(lines, sources, source, target, tokenizer)
        device = next(model.parameters()).device
        hypotheses = exchange_lines(mine, lines, len(self.sources), device)
        target = self.path[-1]
        # References go through the same replacement of letters as what the model has read and writes.
        references = tokenizer.preprocessing.map_letters(self.references, target)
        score = bleu(hypotheses, references, lowercase=lowercase)
        romanian = tokenizer.preprocessing.romanian if target == "ro" else None
        if romanian:
            score = replace(score, signature=f"{score.signature}|romanian:{romanian}")
        samples = take_samples(self.name, self.sources, self.references, hypotheses, self.samples)
        return Translated({self.name: score}, samples)


def _without_copies(
    lines: Sequence[str], sources: Sequence[str], source: str, target: str, tokenizer: Tokenizer
) -> list[str]:
    """Return lines, with an empty line for each one that copies its source.

    Copies are detected even when they are tokenized differently.
    """
    kept = []
    for line, original in zip(lines, sources, strict=True):
        # What the model would write if it repeated its input piece by piece.
        copy = tokenizer.decode(tokenizer.encode(original, source), target)
        is_copy = line.split() == copy.split()
        kept.append("" if is_copy else line)
    return kept


@dataclass(frozen=True)
class WritingTask:
    """Generate from the sources of a stream's validation set and compute ROUGE.

    An output has at most `max_length` pieces.
    """

    stream: str
    language: str
    sources: Sequence[str]
    references: Sequence[str]
    truncation: Truncation
    max_length: int
    by_encoder: bool
    samples: int = 0
    """How many outputs are kept."""

    def measure(self, model: Transformer, tokenizer: Tokenizer, framing: Framing, beam: int) -> Translated:
        """Return the ROUGE scores by name; every process generates a part of the outputs."""
        # The limit of a summary does not grow with its source.
        config = GenerationConfig(beam=beam, max_len_a=0, max_len_b=self.max_length)
        writer = extract_stack(model, "encoder") if self.by_encoder else model
        mine = range(distributed.rank, len(self.sources), distributed.world_size)
        translator = Translator([writer], tokenizer, framing, config, truncation=self.truncation)
        sources = [self.sources[number] for number in mine]
        outputs = translator.translate(sources, self.language, self.language)
        lines = [hypotheses[0].text for hypotheses in outputs]
        device = next(model.parameters()).device
        written = exchange_lines(mine, lines, len(self.sources), device)
        scores = rouge_scores(written, self.references)
        name = f"{self.stream}.rouge"
        return Translated(scores, take_samples(name, self.sources, self.references, written, self.samples))


class Probe(Protocol):
    """The interface of a measurement that looks into the model, and needs no text to be generated."""

    mean: ClassVar[str]
    """Name of the mean over all probes of the kind; empty if it has none."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the metrics."""
        ...

    def measure(self, model: Transformer) -> dict[str, float]:
        """Return the metrics by name. All processes must call this together."""
        ...


@dataclass(frozen=True)
class RetrievalTask:
    """Find the translation of each validation sentence among all of them, in both directions."""

    mean: ClassVar[str] = "retrieval"
    pair: tuple[str, str]
    sides: tuple[list[Ids], list[Ids]]
    framing: Framing

    @property
    def names(self) -> tuple[str, str]:
        """Return the names of the metrics: one for each direction."""
        source, target = self.pair
        return f"retrieval.{source}-{target}", f"retrieval.{target}-{source}"

    @torch.no_grad()
    def measure(self, model: Transformer) -> dict[str, float]:
        """Return the share of sentences that find their translation, by direction."""
        first = sentence_vectors(model, self.framing, self.sides[0], self.pair[0])
        second = sentence_vectors(model, self.framing, self.sides[1], self.pair[1])
        forward, backward = self.names
        return {forward: precision_at_1(first, second), backward: precision_at_1(second, first)}
