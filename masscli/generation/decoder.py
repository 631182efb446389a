"""Generate from token ids: batches, models and search together, without any text.

Sentences are sorted by length and cut into batches of at most `batch_tokens` source tokens times beams. The
results are in the order of the input, and do not depend on the batches (in fp32; see
masscli/generation/search.py).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from masscli.core.distributed import is_sharded
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids, Tokens, pad
from masscli.data.batches.framing import Framing
from masscli.data.formats.pharaoh import Links
from masscli.generation.config import GenerationConfig
from masscli.generation.constraints import Requirements
from masscli.generation.hypotheses import Hypothesis
from masscli.generation.search import search
from masscli.generation.shortlist import ReducedStepper, ReducedVocabulary, Shortlist
from masscli.generation.single_stack_decoding import SingleStackStepper
from masscli.generation.stepper import EnsembleStepper, ModelStepper, Stepper
from masscli.generation.teacher_forcing import score_at_once, score_step_by_step
from masscli.generation.text_decoder import AlignmentHead
from masscli.generation.threads import decode_in_threads
from masscli.models.output_subset import Candidates
from masscli.models.transformer import Transformer

T = TypeVar("T")

ENCODER_RESERVE = 4
"""Positions that a source leaves free in an encoder that generates: one each before, between and after source
and output, and one for the first piece of output."""


class Decoder:
    """Generates and scores token ids with one model, or with the mean of the probabilities of several.

    A model of one stack continues the source instead of encoding it: see
    masscli/generation/single_stack_decoding.py. `allowed` (V,) bool, if given, are the only pieces that are
    ever generated, besides the end symbol. With a `shortlist`, a sentence's outputs consist of the candidates
    of its source alone, and their scores are log-probabilities among these; given targets are scored without
    it. A batch has at most `batch_tokens` source tokens times beams, and `batch_size` sentences.
    """

    def __init__(
        self,
        models: Sequence[Transformer],
        framing: Framing,
        config: GenerationConfig,
        *,
        batch_tokens: int = 8000,
        batch_size: int | None = None,
        seed: int = 1,
        allowed: Tensor | None = None,
        shortlist: Shortlist | None = None,
    ) -> None:
        self.models = models
        self.framing = framing
        self.config = config
        self.batch_tokens = batch_tokens
        self.batch_size = batch_size
        self.seed = seed
        self.allowed = allowed
        self.shortlist = shortlist
        self.single_stack = any(
            model.encoder is None or model.decoder is None for model in models
        )
        source_positions = min(model.config.max_positions for model in models)
        self.target_positions = min(
            model.config.max_target_positions for model in models
        )
        # Special tokens take positions, but the end symbol of an output is never read.
        self.max_target_length = self.target_positions - framing.target_prefix_length
        self.max_source_length = (
            source_positions - framing.prefix_length - framing.suffix_length
        )
        # An encoder alone reads source and output as two texts; a decoder alone continues a text.
        self.continues = all(model.encoder is None for model in models)
        # Source and output share the positions of the one stack, and there is a first piece of output.
        if self.continues:
            before_text = framing.prompt_length(1) - 1
            self.max_source_length = self.target_positions - before_text - 1
        elif self.single_stack:
            self.max_source_length = (
                min(source_positions, self.target_positions) - ENCODER_RESERVE
            )

    @property
    def device(self) -> torch.device:
        """Return the device that the models are on."""
        return next(self.models[0].parameters()).device

    def max_output_length(self, source_length: int) -> int:
        """Return for how many pieces of output the models have positions, after a source of this length."""
        if self.continues:
            return self.target_positions - self.framing.prompt_length(source_length)
        if self.single_stack:
            return self.max_target_length - (source_length + 2)
        return self.max_target_length

    def generate(
        self,
        sources: Sequence[Ids],
        source_lang: str,
        target_lang: str,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        sample_keys: Sequence[int] | None = None,
        phrases: Sequence[Sequence[Sequence[int]]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Return the n best outputs in `target_lang`, best first, of each source in `source_lang`.

        A source has no special tokens, and at most `max_source_length` tokens. `prefixes` are pieces that
        each output must begin with. `sample_keys`, together with the seed, say which random numbers a
        sentence gets when sampling; by default they follow from its pieces, so that equal sentences get equal
        samples. `phrases` are, for each sentence, phrases that its outputs must contain.
        """
        if sample_keys is None:
            sample_keys = range(len(sources))
            # Beam search draws no random numbers, so cheaper keys are sufficient.
            if self.config.sampling:
                sample_keys = [content_key(ids) for ids in sources]
        if prefixes is None:
            prefixes = [()] * len(sources)
        if phrases is None:
            phrases = [()] * len(sources)
        # In the prompt of a single stack, forced tokens have been read already.
        forced = [] if self.single_stack else self.framing.forced_tokens(target_lang)
        limits = []
        for ids, prefix, sentence_phrases in zip(
            sources, prefixes, phrases, strict=True
        ):
            needed = len(prefix) + sum(map(len, sentence_phrases))
            limits.append(self._length_limit(len(ids), needed))

        prompts: list[Ids] | None = None
        if self.continues:
            prompts = [self.framing.prompt(ids, target_lang) for ids in sources]

        def decode(batch: list[int]) -> list[list[Hypothesis]]:
            requirements = Requirements(
                select(limits, batch),
                select(prefixes, batch),
                select(phrases, batch),
                forced,
                self.allowed,
                None if prompts is None else select(prompts, batch),
            )
            return self._search_batch(
                select(sources, batch),
                source_lang,
                target_lang,
                requirements,
                select(sample_keys, batch),
            )

        lengths = [len(ids) for ids in sources]
        return self._in_batches(decode, lengths, self.config.beam, self._threads())

    def _in_batches(
        self,
        compute: Callable[[list[int]], list[T]],
        lengths: Sequence[int],
        width: int = 1,
        threads: int = 1,
    ) -> list[T]:
        """Return the result of each sentence, in order, which `compute` returns for those with given indices.

        `lengths` are the tokens of the sentences, without special ones, and `width` is the number of rows of
        each. Batches are divided among `threads`.
        """
        results: dict[int, T] = {}
        with torch.inference_mode(), self._eval_mode():
            # Batches are of sentences of similar length, so results come out of order.
            batches = self._batches(lengths, width)
            for numbers, batch_results in decode_in_threads(
                compute, batches, width, threads
            ):
                results.update(zip(numbers, batch_results, strict=True))
        return [results[number] for number in range(len(lengths))]

    def _search_batch(
        self,
        sources: Sequence[Ids],
        source_lang: str,
        target_lang: str,
        requirements: Requirements,
        sample_keys: Sequence[int],
    ) -> list[list[Hypothesis]]:
        """Return the n best outputs of each sentence of one batch.

        The other arguments than `requirements` are those of `generate`.
        """
        start = self.framing.decoder_start(target_lang)
        vocabulary = self.framing.vocab
        reduced, candidates = None, None
        # With a shortlist, the search is over the candidates of this batch, which are numbered from 0.
        if self.shortlist is not None:
            framed = self._framed(sources, source_lang, target_lang)
            reduced = ReducedVocabulary(
                self.shortlist, vocabulary, framed, start, requirements, self.device
            )
            vocabulary, candidates = reduced.vocabulary, reduced.candidates
            requirements = reduced.number_requirements(requirements)
            [start] = reduced.numbers([start])
        hypotheses = search(
            self._stepper(
                sources, source_lang, target_lang, self.config.beam, candidates
            ),
            torch.full((len(sources),), start, device=self.device),
            requirements,
            self.config,
            vocabulary,
            sample_seeds=[(self.seed, key) for key in sample_keys],
            candidates=None if candidates is None else candidates.ids,
        )
        if reduced is None:
            return hypotheses
        # Callers get ids instead of these numbers.
        restored = []
        for n_best in hypotheses:
            restored.append([reduced.restore(hypothesis) for hypothesis in n_best])
        return restored

    def score(
        self,
        sources: Sequence[Ids],
        targets: Sequence[Ids],
        source_lang: str,
        target_lang: str,
    ) -> list[Hypothesis]:
        """Return given targets as hypotheses with the scores that the models give them, by teacher forcing.

        The score of a hypothesis is that of the search: its log-probability divided by its length to the
        power of lenpen, both with the end symbol; the length also counts forced first tokens. Sources and
        targets are ids without special tokens.
        """
        sizes = []
        for source_ids, target_ids in zip(sources, targets, strict=True):
            if self.single_stack:
                sizes.append(len(source_ids) + len(target_ids))
            else:
                sizes.append(max(len(source_ids), len(target_ids)))

        def score(batch: list[int]) -> list[Hypothesis]:
            return self._score_batch(
                select(sources, batch), select(targets, batch), source_lang, target_lang
            )

        return self._in_batches(score, sizes)

    def _score_batch(
        self,
        sources: Sequence[Ids],
        targets: Sequence[Ids],
        source_lang: str,
        target_lang: str,
    ) -> list[Hypothesis]:
        """Return the targets of one batch as hypotheses; the arguments are those of `score`."""
        # In the prompt of a single stack forced tokens have been read already, as in the search.
        forced = [] if self.single_stack else self.framing.forced_tokens(target_lang)
        start = [self.framing.decoder_start(target_lang), *forced]
        # Rows hold the start symbol, so a row of n + 1 ids has n to predict, the end symbol included.
        framed = [
            np.concatenate([start, ids, [self.framing.vocab.eos]]) for ids in targets
        ]
        rows, row_lengths = pad(framed, self.framing.vocab.pad)
        lengths = row_lengths - 1
        if self.single_stack:
            # A single stack reads a source and its continuation by different rules, which the stepper knows.
            stepper = self._stepper(sources, source_lang, target_lang, 1)
            scores = score_step_by_step(
                stepper, rows.to(self.device), lengths.to(self.device)
            )
        else:
            languages = self.framing.language_tensor(target_lang, len(rows))
            scores = score_at_once(
                self.models,
                self._encoder_input(sources, source_lang, target_lang),
                Tokens(rows[:, :-1], lengths, language=languages).to(self.device),
                rows[:, 1:].to(self.device),
            )
        hypotheses = []
        for ids, row_scores, n in zip(
            targets, scores.tolist(), lengths.tolist(), strict=True
        ):
            # Forced tokens have log-probability 0, as in the search, but count in the length.
            token_scores = tuple(row_scores[len(forced) : n])
            # The sum is exact, so that it does not depend on padding and batches.
            total = math.fsum(token_scores) / n**self.config.lenpen
            hypotheses.append(
                Hypothesis(tuple(ids.tolist()), total, token_scores, hit_max_len=False)
            )
        return hypotheses

    def align(
        self,
        sources: Sequence[Ids],
        targets: Sequence[Ids],
        source_lang: str,
        target_lang: str,
        head: AlignmentHead,
    ) -> list[Links]:
        """Return, for each target, the links of its pieces to those of its source, by cross-attention.

        The decoder reads each target, and a piece is linked to the source token that it attends to most in
        `head`; it has no link if that is a special token. Sources and targets are ids without special tokens.
        Raises MasscliError for an ensemble and for a model of one stack.
        """
        if len(self.models) > 1 or self.single_stack:
            raise MasscliError(
                "--alignments: needs one model with encoder and decoder",
                "name one run, or leave --alignments out",
            )
        sizes = [
            max(len(ids), len(output))
            for ids, output in zip(sources, targets, strict=True)
        ]

        def align(batch: list[int]) -> list[Links]:
            return self._align_batch(
                select(sources, batch),
                select(targets, batch),
                source_lang,
                target_lang,
                head,
            )

        return self._in_batches(align, sizes)

    def _align_batch(
        self,
        sources: Sequence[Ids],
        targets: Sequence[Ids],
        source_lang: str,
        target_lang: str,
        head: AlignmentHead,
    ) -> list[Links]:
        """Return the links of each target of one batch; the arguments are those of `align`."""
        model = self.models[0]
        heads = head.heads
        if heads is None:
            heads = model.config.for_stack("decoder").heads
        read = []
        for ids in targets:
            # The end symbol is predicted, but not read.
            read.append(self.framing.with_special_tokens(ids, target_lang)[:-1])
        memory = model.encode(self._encoder_input(sources, source_lang, target_lang))
        _, log_weights = model.decode_with_weights(
            self._decoder_input(read, target_lang), memory, head.layer, heads
        )
        # The position that reads the last special token predicts the first piece.
        first_predicted = self.framing.target_prefix_length - 1
        attended = log_weights.exp().mean(1).argmax(-1)[:, first_predicted:]
        attended = attended - self.framing.prefix_length
        links = []
        for source, target, positions in zip(
            sources, targets, attended.tolist(), strict=True
        ):
            links_of_pair = []
            # Shorter targets are followed by padding and then the end symbol.
            for t, s in enumerate(positions[: len(target)]):
                # Other positions are those of special tokens.
                if 0 <= s < len(source):
                    links_of_pair.append((s, t))
            links.append(tuple(links_of_pair))
        return links

    def _decoder_input(self, sequences: Sequence[Ids], target_lang: str) -> Tokens:
        """Return sequences that the decoder reads, in `target_lang`, as a padded block on the device."""
        ids, lengths = pad(sequences, self.framing.vocab.pad)
        languages = self.framing.language_tensor(target_lang, len(sequences))
        return Tokens(ids, lengths, language=languages).to(self.device)

    def _length_limit(self, source_length: int, needed: int) -> int:
        """Return the most pieces that an output may have, for a source of this many tokens.

        This is the limit that the options set, or `needed` (the pieces of a prefix and phrases) where that is
        more, but never more than the models have positions for.
        """
        # A prefix and phrases must fit.
        limit = max(self.config.length_limit(source_length), needed)
        return int(min(limit, self.max_output_length(source_length)))

    def _batches(self, lengths: Sequence[int], width: int) -> Iterator[list[int]]:
        """Yield the indices of the sentences of each batch, long sentences first, so that memory peaks early.

        `lengths` are the sentences' tokens without special ones, and `width` is the number of rows of each. A
        batch holds at most `batch_tokens` padded tokens times `width`, but at least one sentence.
        """
        # The number breaks ties, so that batches depend only on the input.
        order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
        first = 0
        while first < len(order):
            # Every sentence is padded to the longest, which comes first.
            longest = (
                lengths[order[first]]
                + self.framing.prefix_length
                + self.framing.suffix_length
            )
            size = self.batch_tokens // (width * longest)
            if self.batch_size is not None:
                size = min(size, self.batch_size)
            # A sentence that exceeds the limit is a batch of its own.
            size = max(1, size)
            yield order[first : first + size]
            first += size

    def _framed(
        self, sources: Sequence[Ids], source_lang: str, target_lang: str
    ) -> list[Ids]:
        """Return sources with special tokens, for a translation from `source_lang` into `target_lang`."""
        return [
            self.framing.encoder_input(ids, source_lang, target_lang) for ids in sources
        ]

    def _encoder_input(
        self, sources: Sequence[Ids], source_lang: str, target_lang: str
    ) -> Tokens:
        """Return sources in `source_lang`, with special tokens, as a padded block on the models' device."""
        ids, lengths = pad(
            self._framed(sources, source_lang, target_lang), self.framing.vocab.pad
        )
        languages = self.framing.language_tensor(source_lang, len(sources))
        return Tokens(ids, lengths, language=languages).to(self.device)

    def _stepper(
        self,
        sources: Sequence[Ids],
        source_lang: str,
        target_lang: str,
        width: int,
        candidates: Candidates | None = None,
    ) -> Stepper:
        """Return a stepper over all models for `width` rows of each of `sources`.

        With `candidates`, only these are scored, and what the stepper reads and scores are their places among
        the candidates instead of ids.
        """
        encoder_input = self._encoder_input(sources, source_lang, target_lang)
        languages = self.framing.language_tensor(target_lang, len(sources))
        if languages is not None:
            languages = languages.to(self.device)
        # An ensemble may combine models with one stack and with two.
        members: list[Stepper] = []
        for model in self.models:
            if model.encoder is not None and model.decoder is not None:
                members.append(
                    ModelStepper(model, encoder_input, width, languages, candidates)
                )
            else:
                members.append(
                    SingleStackStepper(
                        model, sources, width, self.framing, target_lang, candidates
                    )
                )
        stepper = members[0] if len(members) == 1 else EnsembleStepper(members)
        if candidates is None:
            return stepper
        return ReducedStepper(stepper, candidates.ids)

    def _threads(self) -> int:
        """Return how many threads decode sentences by themselves: those of PyTorch, or 1."""
        weight = next(self.models[0].parameters())
        # A GPU takes its operations one after another, and the layers of a sharded model wait for other
        # processes, which must call them in the same order.
        if weight.device.type != "cpu" or is_sharded(weight):
            return 1
        return torch.get_num_threads()

    @contextmanager
    def _eval_mode(self) -> Iterator[None]:
        """Put the models in eval mode within a `with` block, and restore the mode of each model after it."""
        # Validation generates with the model that is being trained, so its dropout must be restored
        # afterwards.
        modes = [model.training for model in self.models]
        try:
            for model in self.models:
                model.eval()
            yield
        finally:
            for model, mode in zip(self.models, modes, strict=True):
                model.train(mode)


def select(items: Sequence[T], numbers: Sequence[int]) -> list[T]:
    """Return the items with these indices, in the order of the indices."""
    return [items[number] for number in numbers]


def content_key(ids: Ids) -> int:
    """Return a 64-bit hash of the pieces of a sentence, the same in every process and on every machine."""
    # The byte order is fixed, and Python's own hash is not the same in every process.
    digest = hashlib.blake2b(np.asarray(ids, "<i8").tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
