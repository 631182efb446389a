"""Lines in, lines out: the n best translations of each line, in their order, whatever the line holds.

An empty line gives an empty output without asking the model; a source that is longer than the model reads is cut; both are counted in
`Translator.report`, with the numbers of the lines (from 1).  Nothing is printed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.data.batches.framing import Framing
from masscli.data.batches.sequences import Truncation, join_turns
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.generation.hypotheses import Hypothesis
from masscli.models.transformer import Transformer
from masscli.text.tokenizer import Tokenizer

ONE_EACH = "it must have a line for each line of the input"
EMPTY_HYPOTHESIS = Hypothesis((), 0.0, (), False)
"""The output of an empty line."""
NO_TRUNCATION = Truncation()


@dataclass(frozen=True, slots=True)
class Translation:
    """A hypothesis and its text."""

    text: str
    hypothesis: Hypothesis


@dataclass(slots=True)
class Report:
    """What happened, besides the results.  `tokens` are generated (or scored) pieces and end symbols of the best hypotheses."""

    lines: int = 0
    tokens: int = 0
    empty: list[int] = field(default_factory=list)
    truncated: list[int] = field(default_factory=list)
    hit_max_len: list[int] = field(default_factory=list)
    nothing_found: list[int] = field(default_factory=list)
    """Lines for which the rules left no output; theirs is empty."""
    blank: list[int] = field(default_factory=list)
    """Lines whose output says nothing, though they do."""
    nats: float = 0.0
    """Negative log-likelihood of what was scored."""
    words: int = 0
    """Words of what was scored, as white space cuts them, and end symbols."""


class Translator:
    """A decoder with a tokenizer.  Reads `buffer_size` lines ahead, so that batches are of sentences of like length."""

    def __init__(
        self,
        models: Sequence[Transformer],
        tokenizer: Tokenizer,
        framing: Framing,
        config: GenerationConfig,
        *,
        batch_tokens: int = 8000,
        batch_size: int | None = None,
        buffer_size: int = 4096,
        seed: int = 1,
        cut: Truncation = NO_TRUNCATION,
        allowed: Tensor | None = None,
    ) -> None:
        self.tokenizer, self.buffer_size, self.cut = tokenizer, buffer_size, cut
        self.decoder = Decoder(
            models,
            framing,
            config,
            batch_tokens=batch_tokens,
            batch_size=batch_size,
            seed=seed,
            allowed=allowed,
        )
        self.max_source_length = (
            self.decoder.max_source_length
            if cut.max_length is None
            else min(cut.max_length, self.decoder.max_source_length)
        )
        self.report = Report()

    def translate(
        self, lines: Iterable[str], source: str, target: str, prefixes: Iterable[str] | None = None
    ) -> Iterator[list[Translation]]:
        """Translate lines from one language to another: the n best of each, at least one.

        `prefixes`, a line for each: the output begins with the first `config.prefix_size` pieces of it.
        """
        size = self.decoder.config.prefix_size
        beginnings = iter(prefixes) if prefixes is not None else None
        count = 0
        for first, texts in self._buffers(lines):
            count += len(texts)
            forced: list[list[int]] | None = None
            if beginnings is not None:
                forced = [
                    ids[:size]
                    for ids in self.tokenizer.encode_lines(
                        _as_many(beginnings, first, len(texts), "--prefix"), target
                    )
                ]
            ids, full = self._sources(texts, first, source)
            found = self.decoder.generate(
                [ids[i] for i in full],
                source,
                target,
                prefixes=[forced[i] for i in full] if forced is not None else None,
            )
            by_line = dict(zip(full, found, strict=True))
            for i in range(len(texts)):
                hypotheses = by_line.get(i, [EMPTY_HYPOTHESIS])
                if not hypotheses:
                    self.report.nothing_found.append(first + i)
                self._count(first + i, (hypotheses or [EMPTY_HYPOTHESIS])[0])
                written = [
                    Translation(self.tokenizer.decode(h.ids, target), h)
                    for h in hypotheses or [EMPTY_HYPOTHESIS]
                ]
                if hypotheses and i in by_line and not written[0].text.strip():
                    self.report.blank.append(first + i)
                yield written
        if beginnings is not None:
            _none_left(beginnings, count, "--prefix")

    def score(
        self, lines: Iterable[str], references: Iterable[str], source: str, target: str
    ) -> Iterator[Translation]:
        """Score given translations instead of making any.  An empty source is scored as it is."""
        rest, count = iter(references), 0
        for first, texts in self._buffers(lines):
            count += len(texts)
            wanted = _as_many(rest, first, len(texts), "--score-reference")
            ids, _ = self._sources(texts, first, source)
            targets = [np.asarray(t, np.int64) for t in self.tokenizer.encode_lines(wanted, target)]
            for i, row in enumerate(targets):
                if len(row) > (room := self.decoder.max_output_length(len(ids[i]))):
                    behind = f" behind a source of {len(ids[i])}" if self.decoder.single_stack else ""
                    most = f"the model writes at most {room}{behind}"
                    raise MasscliError(
                        f"--score-reference: line {first + i} has {len(row)} pieces, {most}",
                        "leave out the pair",
                    )
            for i, hypothesis in enumerate(self.decoder.score(ids, targets, source, target)):
                self._count(first + i, hypothesis)
                self.report.nats -= sum(hypothesis.token_scores)
                self.report.words += len(wanted[i].split()) + 1
                yield Translation(wanted[i], hypothesis)
        _none_left(rest, count, "--score-reference")

    def _buffers(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Number of the first line, lines."""
        first, rest = 1, iter(lines)
        while texts := list(islice(rest, self.buffer_size)):
            yield first, texts
            first += len(texts)

    def _sources(self, texts: Sequence[str], first: int, language: str) -> tuple[list[Ids], list[int]]:
        """Pieces of each line, and which lines have any."""
        limit = self.max_source_length
        if self.cut.turns:
            ids = [self._dialogue(text, language) for text in texts]
        else:
            ids = [np.asarray(row, np.int64) for row in self.tokenizer.encode_lines(texts, language)]
        self.report.truncated += [first + i for i, row in enumerate(ids) if len(row) > limit]
        self.report.empty += [first + i for i, row in enumerate(ids) if not len(row)]
        short = [row[:limit] if self.cut.keep == "start" else row[-limit:] for row in ids]
        return short, [i for i, row in enumerate(ids) if len(row)]

    def _dialogue(self, text: str, language: str) -> Ids:
        """The pieces of the latest turns, which tabs separate."""
        turns = [turn for turn in text.split("\t") if turn.strip()][-self.cut.turns :]
        return join_turns(
            [np.asarray(row, np.int64) for row in self.tokenizer.encode_lines(turns, language)],
            self.tokenizer.vocab.sep,
        )

    def _count(self, line: int, best: Hypothesis) -> None:
        self.report.lines += 1
        self.report.tokens += len(best.token_scores)
        if best.hit_max_len:
            self.report.hit_max_len.append(line)


def _as_many(rest: Iterator[str], first: int, count: int, flag: str) -> list[str]:
    """The lines of a second file that belong to lines first.. of the input."""
    found = list(islice(rest, count))
    if len(found) < count:
        raise MasscliError(f"{flag} has {first + len(found) - 1} lines, the input has more", ONE_EACH)
    return found


def _none_left(rest: Iterator[str], count: int, flag: str) -> None:
    """Complain of a second file that is longer than the input of `count` lines."""
    if next(rest, None) is not None:
        raise MasscliError(f"{flag} has more than the {count} lines of the input", ONE_EACH)
