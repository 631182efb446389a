"""Ids in, ids out: batches, models and search put together.  Knows nothing of text.

Sentences are sorted by length and cut into batches of at most `batch_tokens` source tokens times beams; what comes out is in the order of
what came in, and does not depend on the batches (in fp32; see `search`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from masscli.data.batches.batch import Ids, Tokens, pad
from masscli.data.batches.framing import Framing
from masscli.generation.config import GenerationConfig
from masscli.generation.hypotheses import Hypothesis
from masscli.generation.search import search
from masscli.generation.single_stack_decoding import SingleStackStepper
from masscli.generation.stepper import EnsembleStepper, ModelStepper, Stepper
from masscli.models.stack import Memory
from masscli.models.transformer import Transformer

CHUNK = 512
"""Rows of logits that are held at a time when references are scored."""


class Decoder:
    """One model, or several that decode as one (the mean of their probabilities); they must share vocabulary and framing.

    A model of one stack goes on from the source instead of reading it apart: a decoder continues it, an encoder writes behind it by
    pseudo-masks.  `allowed` (V,) bool, if given, are the only pieces that are ever written.
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
    ) -> None:
        self.allowed = allowed
        self.models, self.framing, self.config = models, framing, config
        self.batch_tokens, self.batch_size, self.seed = batch_tokens, batch_size, seed
        positions = min(model.config.max_positions for model in models)
        self.max_source_length = positions - framing.prefix_length - 1  # the end symbol takes a position
        self.max_target_length = positions - 1  # the decoder's first input takes one
        self.single_stack = any(model.encoder is None or model.decoder is None for model in models)
        if self.single_stack:
            self.max_source_length = (
                positions - 4
            )  # source and output share the positions, with a symbol before, between and after

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return next(self.models[0].parameters()).device

    def generate(
        self,
        sources: Sequence[Ids],
        source: str,
        target: str,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        sample_keys: Sequence[int] | None = None,
    ) -> list[list[Hypothesis]]:
        """The n best outputs in language `target` of each source (words only, at most `max_source`) in language `source`.

        `prefixes` are pieces each output must begin with.  `sample_keys` say which random numbers a sentence gets when sampling, together with the
        seed; by default they follow from its pieces, so that equal sentences are given equal samples.
        """
        results: list[list[Hypothesis]] = [[] for _ in sources]
        if sample_keys is None:
            sample_keys = (
                [content_key(ids) for ids in sources] if self.config.sampling else range(len(sources))
            )
        with torch.inference_mode(), self._evaluating():
            for batch in self._batches([len(ids) for ids in sources], self.config.beam):
                forced = [prefixes[i] for i in batch] if prefixes is not None else None
                found = search(
                    self._stepper([sources[i] for i in batch], source, target, self.config.beam),
                    torch.full((len(batch),), self.framing.decoder_start(target), device=self.device),
                    [
                        self._limit(len(sources[i]), len(prefixes[i]) if prefixes is not None else 0)
                        for i in batch
                    ],
                    self.config,
                    self.framing.vocab,
                    prefixes=forced,
                    seed=self.seed,
                    keys=[sample_keys[i] for i in batch],
                    allowed=self.allowed,
                )
                for i, hypotheses in zip(batch, found, strict=True):
                    results[i] = hypotheses
        return results

    def score(
        self, sources: Sequence[Ids], targets: Sequence[Ids], source: str, target: str
    ) -> list[Hypothesis]:
        """What the models think of given targets, by teacher forcing; the score is normalised as that of an output."""
        results: list[Hypothesis | None] = [None] * len(sources)
        with torch.inference_mode(), self._evaluating():
            sizes = [
                len(s) + len(t) if self.single_stack else max(len(s), len(t))
                for s, t in zip(sources, targets, strict=True)
            ]
            for batch in self._batches(sizes, 1):
                block, lengths = pad(
                    [self.framing.with_special_tokens(targets[i], target) for i in batch],
                    self.framing.vocab.pad,
                )
                read = [sources[i] for i in batch]
                if self.single_stack:
                    scores = self._followed(self._stepper(read, source, target, 1), block, lengths - 1)
                else:
                    scores = self._forced(self._source(read, source), block, lengths - 1, target)
                for i, row, n in zip(batch, scores.tolist(), (lengths - 1).tolist(), strict=True):
                    ids = tuple(int(v) for v in targets[i])
                    results[i] = Hypothesis(
                        ids, math.fsum(row[:n]) / n**self.config.lenpen, tuple(row[:n]), False
                    )
        return [r for r in results if r is not None]

    def _limit(self, source: int, prefix: int) -> int:
        """The most pieces of an output."""
        wanted = max(self.config.max_len_a * source + self.config.max_len_b, self.config.min_len, prefix)
        return int(min(wanted, self.max_output_length(source)))

    def max_output_length(self, source: int) -> int:
        """The most pieces that the model has positions for behind a source of so many."""
        return self.max_target_length - (source + 2 if self.single_stack else 0)

    def _batches(self, lengths: Sequence[int], width: int) -> Iterator[list[int]]:
        """Indices, the longest first, so that memory is highest at once."""
        order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
        first = 0
        while first < len(order):
            room = self.batch_tokens // (width * (lengths[order[first]] + self.framing.prefix_length + 1))
            size = max(1, min(room, self.batch_size or room))
            yield order[first : first + size]
            first += size

    def _source(self, sources: Sequence[Ids], language: str) -> Tokens:
        ids, lengths = pad(
            [self.framing.encoder_input(ids, language) for ids in sources], self.framing.vocab.pad
        )
        return Tokens(ids, lengths, language=self.framing.language_tensor(language, len(sources))).to(
            self.device
        )

    def _stepper(self, sources: Sequence[Ids], source: str, target: str, width: int) -> Stepper:
        block = self._source(sources, source)
        language = self.framing.language_tensor(target, len(sources))
        language = language.to(self.device) if language is not None else None
        members: list[Stepper] = []
        for model in self.models:
            if model.encoder is not None and model.decoder is not None:
                members.append(ModelStepper(model, block, width, language))
            else:
                members.append(SingleStackStepper(model, sources, width, self.framing, target))
        return members[0] if len(members) == 1 else EnsembleStepper(members)

    def _followed(self, stepper: Stepper, rows: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) log-probabilities of rows[:, 1:], a step at a time; 0 beyond `lengths`, where there may be no positions left."""
        rows, lengths = rows.to(self.device), lengths.to(self.device)
        found = torch.zeros(len(rows), rows.shape[1] - 1, device=self.device)
        going = torch.arange(len(rows), device=self.device)
        for t in range(rows.shape[1] - 1):
            if not bool((on := lengths[going] > t).all()):
                stepper.keep(torch.nonzero(on)[:, 0])
                going = going[on]
            found[going, t] = stepper(rows[going, t]).gather(1, rows[going, t + 1, None])[:, 0]
        return found

    def _forced(self, source: Tokens, rows: Tensor, lengths: Tensor, target: str) -> Tensor:
        """(B, T) log-probabilities of rows[:, 1:] given what stands before; meaningless beyond `lengths`."""
        read = Tokens(rows[:, :-1], lengths, language=self.framing.language_tensor(target, len(rows))).to(
            self.device
        )
        labels = rows[:, 1:].to(self.device)
        total = None
        for model in self.models:
            memory: Memory = model.encode(source)
            hidden = model.decode(read, memory).flatten(0, 1)
            pairs = zip(torch.split(hidden, CHUNK), torch.split(labels.flatten(), CHUNK), strict=True)
            chunks = [
                torch.log_softmax(model.logits(h), -1, dtype=torch.float32).gather(1, y[:, None])[:, 0]
                for h, y in pairs
            ]
            scores = torch.cat(chunks).view_as(labels)
            total = scores if total is None else torch.logaddexp(total, scores)
        assert total is not None
        return total - math.log(len(self.models))

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Dropout off, whatever the trainer that lends its model has it at."""
        modes = [model.training for model in self.models]
        try:
            for model in self.models:
                model.eval()
            yield
        finally:
            for model, mode in zip(self.models, modes, strict=True):
                model.train(mode)


def content_key(ids: Ids) -> int:
    """A number that follows from the pieces of a sentence, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(np.asarray(ids, "<i8").tobytes(), digest_size=8).digest(), "little")
