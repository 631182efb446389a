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
from masscli.generation.decoder import Decoder
from masscli.generation.retrieval import precision_at_1, sentence_vectors
from masscli.generation.single_stack_decoding import extract_stack
from masscli.generation.translator import Translator
from masscli.metrics import METRIC_FAMILIES, Score, bleu, rouge_scores
from masscli.models.transformer import Transformer
from masscli.text.tokenizer import Tokenizer
from masscli.training.evaluate_outputs import exchange_lines
from masscli.training.events import Sample

ROUGE = METRIC_FAMILIES["rouge"]


class Generated(NamedTuple):
    """The result of a task that generates text: scores by metric, and outputs for a few lines."""

    scores: dict[str, Score]
    samples: tuple[Sample, ...]


class GenerationTask(Protocol):
    """The interface of a measurement for which a model generates text."""

    @property
    def metrics(self) -> Sequence[str]:
        """The metrics of which `measure` returns a score; the mean over tasks has the same name."""
        ...

    def score_name(self, metric: str) -> str:
        """Return the name of this task's own score of a metric."""
        ...

    def measure(
        self, model: Transformer, tokenizer: Tokenizer, framing: Framing, beam: int
    ) -> Generated:
        """Generate text with beam search, and return scores and samples.

        All processes must call this together, and all get the scores of the whole set.
        """
        ...


def take_samples(
    task: str,
    sources: Sequence[str],
    references: Sequence[str],
    outputs: Sequence[str],
    count: int,
) -> tuple[Sample, ...]:
    """Return samples for at most `count` lines, spread evenly over a validation set.

    `task` is the name of the metric that the lines belong to. The three sequences have one entry for each
    line.
    """
    count = min(count, len(sources))
    samples = []
    for position in range(count):
        number = position * len(sources) // count
        samples.append(
            Sample(task, sources[number], references[number], outputs[number])
        )
    return tuple(samples)


@dataclass(frozen=True)
class TranslationTask:
    """Translates a validation set and computes BLEU.

    `path` has the languages that a line goes through: (en, de) is a translation, and (de, en, de) a round
    trip back to the language of the source. A model that only copies would return every line of a round trip
    unharmed, so the output of a line that its first step only copies is replaced by an empty line.
    """

    path: tuple[str, ...]
    sources: list[str]
    references: list[str]
    allowed: Mapping[str, Tensor] = field(default_factory=dict)
    """By target language, a (V,) mask of the pieces that may be generated in it; languages without a mask
    allow all. The masks are those of back-translation, so that it is measured as it works."""
    by_encoder: bool = False
    """Whether the encoder generates the translations, even if the model has a decoder."""
    samples: int = 0
    """How many sample outputs `measure` returns."""

    @property
    def metric(self) -> str:
        """Return `roundtrip` if the path ends in the language in which it begins, else `bleu`."""
        return "roundtrip" if self.path[0] == self.path[-1] else "bleu"

    @property
    def metrics(self) -> tuple[str]:
        """Return the only metric of this task."""
        return (self.metric,)

    def score_name(self, metric: str) -> str:
        """Return the metric with the path, such as `bleu.en-de` or `roundtrip.de-en-de`."""
        return f"{metric}.{'-'.join(self.path)}"

    def measure(
        self, model: Transformer, tokenizer: Tokenizer, framing: Framing, beam: int
    ) -> Generated:
        """Translate the sources with beam search, and return the BLEU score and sample outputs.

        Round trips are translated greedily, whatever `beam` is. BLEU ignores case if the tokenizer does.
        Every process translates a part of the lines, so all must call this together; all get the score of the
        whole set.
        """
        # Lines are dealt out in turn, so that long and short ones spread over the processes.
        mine = range(distributed.rank, len(self.sources), distributed.world_size)
        sources = [self.sources[number] for number in mine]
        lines = self._translate(sources, model, tokenizer, framing, beam)
        device = next(model.parameters()).device
        hypotheses = exchange_lines(mine, lines, len(self.sources), device)
        score = self._score(hypotheses, tokenizer)
        samples = take_samples(
            self.score_name(self.metric),
            self.sources,
            self.references,
            hypotheses,
            self.samples,
        )
        return Generated({self.metric: score}, samples)

    def _translate(
        self,
        sources: list[str],
        model: Transformer,
        tokenizer: Tokenizer,
        framing: Framing,
        beam: int,
    ) -> list[str]:
        """Return the translations of lines through all languages of the path."""
        # Round trips are searched greedily, as back-translation writes.
        if self.metric == "roundtrip":
            beam = 1
        config = GenerationConfig(beam=beam)
        writer = extract_stack(model, "encoder") if self.by_encoder else model
        lines = sources
        for step, (source, target) in enumerate(pairwise(self.path)):
            decoder = Decoder(
                [writer], framing, config, allowed=self.allowed.get(target)
            )
            outputs = Translator(decoder, tokenizer).translate(lines, source, target)
            lines = [hypotheses[0].text for hypotheses in outputs]
            if step == 0 and self.metric == "roundtrip":
                lines = _without_copies(lines, sources, source, target, tokenizer)
        return lines

    def _score(self, hypotheses: Sequence[str], tokenizer: Tokenizer) -> Score:
        """Return the BLEU score of the outputs for all lines."""
        target = self.path[-1]
        # References go through the same replacement of letters as what the model has read and writes.
        references = tokenizer.preprocessing.map_letters(self.references, target)
        score = bleu(
            hypotheses, references, lowercase=tokenizer.preprocessing.lowercase
        )
        # A score against replaced letters cannot be compared with one against the original ones.
        romanian = tokenizer.preprocessing.romanian if target == "ro" else None
        if romanian:
            score = replace(score, signature=f"{score.signature}|romanian:{romanian}")
        return score


def _without_copies(
    lines: Sequence[str],
    sources: Sequence[str],
    source: str,
    target: str,
    tokenizer: Tokenizer,
) -> list[str]:
    """Return the translations `lines`, with an empty line in place of each one that copies its source.

    `source` and `target` are the languages of the step. A source is encoded and decoded by the tokenizer
    before the comparison, so that copies with other spaces or forms of characters are found as well.
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
    """Generates text from the sources of a stream's validation set, and computes ROUGE.

    An output has at most `max_length` pieces. With `by_encoder` the encoder generates, even if there is a
    decoder.
    """

    stream: str
    language: str
    sources: Sequence[str]
    references: Sequence[str]
    truncation: Truncation
    max_length: int
    by_encoder: bool
    samples: int = 0
    """How many sample outputs `measure` returns."""

    @property
    def metrics(self) -> Sequence[str]:
        """Return the metrics of ROUGE."""
        return ROUGE

    def score_name(self, metric: str) -> str:
        """Return the metric after the name of the stream, such as `summaries.rouge-1`."""
        return f"{self.stream}.{metric}"

    def measure(
        self, model: Transformer, tokenizer: Tokenizer, framing: Framing, beam: int
    ) -> Generated:
        """Generate an output for each source with beam search, and return ROUGE scores and samples.

        Every process generates a part of the outputs, so all must call this together; all get the scores of
        the whole set.
        """
        # The limit of a summary does not grow with its source.
        config = GenerationConfig(beam=beam, max_len_a=0, max_len_b=self.max_length)
        writer = extract_stack(model, "encoder") if self.by_encoder else model
        mine = range(distributed.rank, len(self.sources), distributed.world_size)
        decoder = Decoder([writer], framing, config)
        translator = Translator(decoder, tokenizer, truncation=self.truncation)
        sources = [self.sources[number] for number in mine]
        outputs = translator.translate(sources, self.language, self.language)
        lines = [hypotheses[0].text for hypotheses in outputs]
        device = next(model.parameters()).device
        written = exchange_lines(mine, lines, len(self.sources), device)
        scores = rouge_scores(written, self.references)
        name = f"{self.stream}.rouge"
        return Generated(
            scores,
            take_samples(name, self.sources, self.references, written, self.samples),
        )


class Probe(Protocol):
    """The interface of a measurement on a model for which no text is generated."""

    mean: ClassVar[str]
    """Name of the metric that is the mean over all probes of this kind; empty if there is none."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the metrics that `measure` returns."""
        ...

    def measure(self, model: Transformer) -> dict[str, float]:
        """Return the values of the metrics by name. All processes must call this together."""
        ...


def names_by_direction(metric: str, pair: tuple[str, str]) -> tuple[str, str]:
    """Return the names of a metric for both directions of a pair, such as `retrieval.en-de`."""
    first, second = pair
    return f"{metric}.{first}-{second}", f"{metric}.{second}-{first}"


@dataclass(frozen=True)
class RetrievalTask:
    """Measures how often a validation sentence finds its translation among all of the other language.

    `pair` are the two languages, and `sides` the token ids of their aligned lines. Sentences are compared by
    their vectors from the encoder.
    """

    mean: ClassVar[str] = "retrieval"
    pair: tuple[str, str]
    sides: tuple[list[Ids], list[Ids]]
    framing: Framing

    @property
    def names(self) -> tuple[str, str]:
        """Return the names of the metrics, one for each direction, such as `retrieval.en-de`."""
        return names_by_direction(self.mean, self.pair)

    @torch.no_grad()
    def measure(self, model: Transformer) -> dict[str, float]:
        """Return, by metric, the share (0 to 1) of sentences whose translation is the best match."""
        first = sentence_vectors(model, self.framing, self.sides[0], self.pair[0])
        second = sentence_vectors(model, self.framing, self.sides[1], self.pair[1])
        forward, backward = self.names
        return {
            forward: precision_at_1(first, second),
            backward: precision_at_1(second, first),
        }
