"""Translate lines of text: yield the n best translations of each line, in order.

An empty line gives an empty output without asking the model, and a source that is longer than the model can
read is truncated. Both are recorded in `Translator.report` with their line numbers, from 1. Nothing is
printed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

import numpy as np

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.data.batches.sequences import Truncation, join_turns
from masscli.generation.decoder import select
from masscli.generation.hypotheses import Hypothesis, pair_with_sources
from masscli.generation.minimum_risk import rank_by_utility
from masscli.generation.parallel_lines import ParallelLines
from masscli.generation.text_decoder import AlignmentHead, TextDecoder
from masscli.generation.translation import INPUT, Report, Translation
from masscli.text.tokenizer import Tokenizer
from masscli.text.unknown_pieces import UnknownPieces

EMPTY_HYPOTHESIS = Hypothesis((), 0.0, (), False)
"""The output of an empty line, and of a line for which the search found none."""
NO_TRUNCATION = Truncation()
"""Sources are truncated only where the model has no positions for them."""


class Translator:
    """Translates or scores lines of text: a decoder with a tokenizer.

    It reads `buffer_size` lines ahead, so that batches hold sentences of similar length. `truncation` says
    how long sources are truncated. With `alignment_head`, outputs have the links to their sources.
    """

    def __init__(
        self,
        decoder: TextDecoder,
        tokenizer: Tokenizer,
        *,
        buffer_size: int = 4096,
        truncation: Truncation = NO_TRUNCATION,
        alignment_head: AlignmentHead | None = None,
    ) -> None:
        self.decoder = decoder
        self.config = decoder.config
        self.tokenizer = tokenizer
        self.buffer_size = buffer_size
        self.truncation = truncation
        self.alignment_head = alignment_head
        self.max_source_length = decoder.max_source_length
        if truncation.max_length is not None:
            self.max_source_length = min(self.max_source_length, truncation.max_length)
        self.report = Report()
        # An output could only be shorter than asked for.
        longest = decoder.max_output_length(0)
        if self.config.min_len > longest:
            raise MasscliError(
                f"--min-len {self.config.min_len}: the model generates at most {longest} pieces",
                "lower it",
            )

    def translate(
        self,
        lines: Iterable[str],
        source_lang: str,
        target_lang: str,
        prefixes: Iterable[str] | None = None,
        constraints: Iterable[str] | None = None,
    ) -> Iterator[list[Translation]]:
        """Yield the translations of each line from `source_lang` to `target_lang`, the best one first.

        There are up to `config.nbest`, and at least one. `prefixes` has a line for each line; the output
        begins with its first `config.prefix_size` pieces. `constraints` has phrases for each line, separated
        by tabs, which the output contains. Raises MasscliError if one of them has more or fewer lines, and
        where a line has more pieces than the model can generate.
        """
        texts_of = {"--prefix": prefixes, "--constraints": constraints}
        files = {
            flag: ParallelLines(texts, flag)
            for flag, texts in texts_of.items()
            if texts is not None
        }
        asked_by = " and ".join(files)
        for first, texts in self._buffers(lines):
            prefix_ids = self._read_prefixes(
                files.get("--prefix"), first, len(texts), target_lang
            )
            phrases = self._read_phrases(
                files.get("--constraints"), first, len(texts), target_lang
            )
            ids = self._source_ids(texts, first, source_lang)
            for i, row in enumerate(ids):
                forced = len(prefix_ids[i]) + sum(map(len, phrases[i]))
                self._check_room(asked_by, first + i, forced, len(row))
            # The model is asked for lines that are not empty only.
            not_empty = [i for i, row in enumerate(ids) if len(row)]
            n_best = self.decoder.generate(
                select(ids, not_empty),
                source_lang,
                target_lang,
                prefixes=select(prefix_ids, not_empty),
                phrases=select(phrases, not_empty),
            )
            if self.alignment_head is not None:
                n_best = self._align(
                    select(ids, not_empty), n_best, source_lang, target_lang
                )
            hypotheses_of = dict(zip(not_empty, n_best, strict=True))
            for i in range(len(texts)):
                yield self._translations(first + i, hypotheses_of.get(i), target_lang)
        for file in files.values():
            # A file that is longer than the input is as wrong as one that is shorter.
            file.require_end()

    def _read_prefixes(
        self, prefixes: ParallelLines | None, first: int, count: int, target_lang: str
    ) -> list[list[int]]:
        """Return the ids with which the outputs of the next `count` lines begin, in `target_lang`.

        They are the first `prefix_size` ones of each line of `prefixes`, or none if that is None. `first` is
        the number of the first of these lines. Raises MasscliError if `prefixes` has too few lines.
        """
        if prefixes is None:
            return [[] for _ in range(count)]
        size = self.config.prefix_size
        texts = prefixes.take(count)
        # With --prefix-size a whole reference may be given as the prefix, of which only the beginning counts.
        ids = [row[:size] for row in self.tokenizer.encode_lines(texts, target_lang)]
        self._count_unknown("--prefix", first, ids)
        return ids

    def _read_phrases(
        self,
        constraints: ParallelLines | None,
        first: int,
        count: int,
        target_lang: str,
    ) -> list[list[list[int]]]:
        """Return the ids of the phrases that the outputs of the next `count` lines contain.

        `constraints` has the phrases of each line, in `target_lang` and separated by tabs; None means no
        phrases. `first` is the number of the first line. Raises MasscliError if there are too few lines.
        """
        if constraints is None:
            return [[] for _ in range(count)]
        phrases = [self._phrases(line, target_lang) for line in constraints.take(count)]
        # A line is not understood if none of its phrases has a known piece.
        joined = [list(chain.from_iterable(line_phrases)) for line_phrases in phrases]
        self._count_unknown("--constraints", first, joined)
        return phrases

    def score(
        self,
        lines: Iterable[str],
        references: Iterable[str],
        source_lang: str,
        target_lang: str,
    ) -> Iterator[Translation]:
        """Yield each of `references` with the scores that the models give it as a translation of its line.

        An empty source is scored like any other. Raises MasscliError where a translation is longer than the
        model can generate, and if there are not as many as lines.
        """
        reference_lines = ParallelLines(references, "--score-reference")
        for first, texts in self._buffers(lines):
            reference_texts = reference_lines.take(len(texts))
            ids = self._source_ids(texts, first, source_lang)
            targets = self._encode(reference_texts, target_lang)
            self._count_unknown(
                "--score-reference", first, [row.tolist() for row in targets]
            )
            # A reference that is too long is refused before anything is scored.
            for i, row in enumerate(targets):
                self._check_room("--score-reference", first + i, len(row), len(ids[i]))
            scored = self.decoder.score(ids, targets, source_lang, target_lang)
            if self.alignment_head is not None:
                aligned = self._align(
                    ids,
                    [[hypothesis] for hypothesis in scored],
                    source_lang,
                    target_lang,
                )
                scored = [hypothesis for [hypothesis] in aligned]
            for i, hypothesis in enumerate(scored):
                self._count(first + i, hypothesis)
                self.report.nats -= sum(hypothesis.token_scores)
                # The end symbol counts as a word, as is usual in perplexities by word.
                self.report.words += len(reference_texts[i].split()) + 1
                yield self._translation(reference_texts[i], hypothesis)
        reference_lines.require_end()

    def _align(
        self,
        sources: Sequence[Ids],
        n_best: Sequence[Sequence[Hypothesis]],
        source_lang: str,
        target_lang: str,
    ) -> list[list[Hypothesis]]:
        """Return the hypotheses of each source with their alignments."""
        assert self.alignment_head is not None
        # Each hypothesis is aligned by itself, as a pair with its source.
        repeated, outputs = pair_with_sources(sources, n_best)
        links = iter(
            self.decoder.align(
                repeated, outputs, source_lang, target_lang, self.alignment_head
            )
        )
        aligned = []
        for hypotheses in n_best:
            aligned.append(
                [replace(hypothesis, links=next(links)) for hypothesis in hypotheses]
            )
        return aligned

    def _translations(
        self, line: int, hypotheses: list[Hypothesis] | None, target_lang: str
    ) -> list[Translation]:
        """Return the translations of a line (a number, from 1) from its hypotheses, best first, at least one.

        `hypotheses` are None for an empty line, which has an empty translation. The line is counted in the
        report.
        """
        if hypotheses is None:
            self._count(line, EMPTY_HYPOTHESIS)
            return [
                Translation(self.tokenizer.decode((), target_lang), EMPTY_HYPOTHESIS)
            ]
        # Every line of the input gets a line of output, even where the options left none to be found.
        nothing_found = not hypotheses
        if nothing_found:
            self.report.nothing_found.append(line)
            hypotheses = [EMPTY_HYPOTHESIS]
        translations = []
        for hypothesis in hypotheses:
            text = self.tokenizer.decode(hypothesis.ids, target_lang)
            translations.append(self._translation(text, hypothesis))
        if self.config.mbr:
            ranking = rank_by_utility(
                [translation.text for translation in translations]
            )
            translations = [
                translations[number] for number in ranking[: self.config.nbest]
            ]
        self._count(line, translations[0].hypothesis)
        # A line is reported once: as one for which nothing was found, or as one that the model left empty.
        if not nothing_found and not translations[0].text.strip():
            self.report.blank.append(line)
        return translations

    def _translation(self, text: str, hypothesis: Hypothesis) -> Translation:
        """Return a translation of a hypothesis whose text is `text`, with the names of its pieces."""
        pieces: tuple[str, ...] = ()
        # If the options left no piece to generate, nothing was searched for, and the end symbol has no score.
        if hypothesis.token_scores:
            pieces = tuple(
                self.tokenizer.ids_to_pieces(
                    [*hypothesis.ids, self.tokenizer.vocab.eos]
                )
            )
        return Translation(text, hypothesis, pieces)

    def _phrases(self, line: str, language: str) -> list[list[int]]:
        """Return the ids of each phrase of a line; tabs separate phrases, and blank ones are left out."""
        texts = [text for text in line.split("\t") if text.strip()]
        return [ids for ids in self.tokenizer.encode_lines(texts, language) if ids]

    def _check_room(
        self, asked_by: str, line: int, length: int, source_length: int
    ) -> None:
        """Raise MasscliError if an output with `length` pieces would be longer than the model can generate.

        `asked_by` says which option asks for them in which `line` (a number), for the message;
        `source_length` is the number of pieces of the line's source.
        """
        max_length = self.decoder.max_output_length(source_length)
        if length <= max_length:
            return
        limit = f"the model generates at most {max_length}"
        if self.decoder.single_stack:
            limit += f" after a source of {source_length}"
        raise MasscliError(
            f"{asked_by}: line {line} has {length} pieces, {limit}",
            "shorten or leave out the line",
        )

    def _buffers(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield the lines in buffers of `buffer_size`, each with the number of its first line, from 1."""
        first = 1
        remaining = iter(lines)
        # Lines are read a buffer at a time, so that results appear before the input ends.
        while texts := list(islice(remaining, self.buffer_size)):
            yield first, texts
            first += len(texts)

    def _source_ids(self, texts: Sequence[str], first: int, language: str) -> list[Ids]:
        """Return the token ids of each line, truncated to `max_source_length`.

        `first` is the number of the first line. Truncated and empty lines and unknown pieces are reported. Of
        dialogues, the latest turns are read, joined by a separator.
        """
        if self.truncation.turns:
            encoded = [self._encode_dialogue(text, language) for text in texts]
        else:
            encoded = self._encode(texts, language)
        self._count_unknown(INPUT, first, [row.tolist() for row in encoded])
        ids = []
        for line, row in enumerate(encoded, first):
            # Both are reported by line number.
            if not len(row):
                self.report.empty.append(line)
            if len(row) > self.max_source_length:
                self.report.truncated.append(line)
            if self.truncation.keep == "start":
                ids.append(row[: self.max_source_length])
            else:
                # In a dialogue the latest turns matter most.
                ids.append(row[-self.max_source_length :])
        return ids

    def _encode_dialogue(self, text: str, language: str) -> Ids:
        """Return the ids of the latest turns of a dialogue as one sequence; tabs separate turns in `text`."""
        turns = [turn for turn in text.split("\t") if turn.strip()]
        latest = turns[-self.truncation.turns :]
        return join_turns(self._encode(latest, language), self.tokenizer.vocab.sep)

    def _encode(self, texts: Sequence[str], language: str) -> list[Ids]:
        """Return the token ids of each text, without special tokens."""
        return [
            np.asarray(row, np.int64)
            for row in self.tokenizer.encode_lines(texts, language)
        ]

    def _count_unknown(
        self, name: str, first: int, encoded: Sequence[list[int]]
    ) -> None:
        """Add the unknown pieces of lines to the report, under the name of where the lines were read.

        `encoded` are the token ids of each line, and `first` is the number of the first line.
        """
        counts = self.report.unknown.setdefault(name, UnknownPieces())
        for line, ids in enumerate(encoded, first):
            counts.add(self.tokenizer, line, ids)

    def _count(self, line: int, best: Hypothesis) -> None:
        """Count a line (a number, from 1) and the tokens of its best hypothesis in the report."""
        self.report.lines += 1
        # Some decoders give no scores of single pieces. The end symbol counts as a token.
        if best is not EMPTY_HYPOTHESIS:
            self.report.tokens += len(best.ids) + 1
        if best.hit_max_len:
            self.report.hit_max_len.append(line)
