"""Decoding with a model of one stack: a decoder goes on from a prompt, an encoder writes behind a source by pseudo-masks.

decoder   start, prompt | y_1 ...               each token predicts the next
encoder   [CLS] source [SEP] | y_1 ... [M]      a [M] is appended, its state predicts the next token, and gives way to it (s2s-ft)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from masscli.data.batches.batch import Ids, Tokens, pad
from masscli.data.batches.framing import Framing
from masscli.generation.stepper import CachedStepper
from masscli.models.single_stack_decoding import go_on, remember
from masscli.models.transformer import Transformer


def extract_stack(model: Transformer, stack: Literal["encoder", "decoder"]) -> Transformer:
    """The same weights as a model of one stack: of two, the other one may never have learned to write, or to be read by this one."""
    made = copy.copy(model)
    made._modules = dict(model._modules)
    made._modules["decoder" if stack == "encoder" else "encoder"] = None
    return made


class SingleStackStepper(CachedStepper):
    """A `Stepper` over a model of one stack; `sources` are bare pieces, `width` the rows of each."""

    def __init__(
        self, model: Transformer, sources: Sequence[Ids], width: int, framing: Framing, language: str
    ) -> None:
        vocab = framing.vocab
        self.mask, self.masked = vocab.mask, model.decoder is None
        if self.masked:
            rows = [np.concatenate([[vocab.cls], ids, [vocab.sep]]) for ids in sources]
        else:
            rows = [np.concatenate([[framing.decoder_start(language)], ids]) for ids in sources]
        device = next(model.parameters()).device
        block, lengths = pad(rows, vocab.pad)
        spoken = framing.language_tensor(language, len(rows))
        text = Tokens(block, lengths, language=spoken).to(device)
        self.segment = int(self.masked and model.config.segments > 1)
        self.begun = False
        self.last, cache = remember(model, text, width)
        super().__init__(model, cache, width, text.language)

    def __call__(self, ids: Tensor) -> Tensor:
        """The first call has nothing to read: what the search begins with is part of the text."""
        hidden = (
            go_on(self.model, self._tokens(ids), self.cache)[:, 0]
            if self.begun
            else self.last.repeat_interleave(self.width, 0)
        )
        if self.masked:
            hidden = go_on(self.model, self._tokens(torch.full_like(ids, self.mask)), self.cache)[:, 0]
            self.cache.retract()
        self.begun = True
        return self.scores(hidden)

    def _tokens(self, ids: Tensor) -> Tokens:
        made = self.tokens(ids)
        return (
            replace(made, segments=torch.full_like(made.ids, self.segment))
            if self.model.config.segments
            else made
        )
