"""Decoding with a model of one stack: a decoder goes on from a prompt, an encoder writes behind a source by pseudo-masks.

    decoder   start, prompt | y_1 ...               each token predicts the next
    encoder   [CLS] source [SEP] | y_1 ... [M]      a [M] is appended, its state predicts the next token, and gives way to it (s2s-ft)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from masscli.data.batch import Ids, Tokens, pad
from masscli.data.framing import Framing
from masscli.errors import MasscliError
from masscli.models.continuing import go_on, remember
from masscli.models.transformer import Transformer


class ContinuingStepper:
    """A `Stepper` over a model of one stack; `sources` are bare pieces, `width` the rows of each."""

    def __init__(self, model: Transformer, sources: Sequence[Ids], width: int, framing: Framing, language: str) -> None:
        self.model, self.width, self.mask = model, width, framing.vocab.mask
        self.vocab_size, self.masked = model.vocab_size, model.decoder is None
        vocab = framing.vocab
        if self.masked:
            rows = [np.concatenate([[vocab.cls], ids, [vocab.sep]]) for ids in sources]
        else:
            rows = [np.concatenate([[framing.start(language)], ids]) for ids in sources]
        device = next(model.parameters()).device
        block, lengths = pad(rows, vocab.pad)
        spoken = framing.language(language, len(rows))
        text = Tokens(block, lengths, language=spoken).to(device)
        self.language = text.language
        self.segment = int(self.masked and model.config.segments > 1)
        self.begun = False
        self.last, self.cache = remember(model, text, width)

    def __call__(self, ids: Tensor) -> Tensor:
        """The first call has nothing to read: what the search begins with is part of the text."""
        hidden = go_on(self.model, self._tokens(ids), self.cache)[:, 0] if self.begun else self.last.repeat_interleave(self.width, 0)
        if self.masked:
            hidden = go_on(self.model, self._tokens(torch.full_like(ids, self.mask)), self.cache)[:, 0]
            self.cache.retract()
        self.begun = True
        scores = torch.log_softmax(self.model.logits(hidden), -1, dtype=torch.float32)
        if bool(scores[:, 0].isnan().any()):
            raise MasscliError("the model's output is not a number", "its training diverged or its weights are damaged; use an earlier one")
        return scores

    def reorder(self, parents: Tensor) -> None:
        """See `Stepper`."""
        self.cache.reorder(parents)

    def keep(self, sentences: Tensor) -> None:
        """See `Stepper`."""
        self.cache.keep(sentences)
        if self.language is not None:
            self.language = self.language[sentences]

    def _tokens(self, ids: Tensor) -> Tokens:
        language = self.language.repeat_interleave(self.width) if self.language is not None else None
        made = Tokens(ids[:, None], torch.ones_like(ids), language=language)
        return replace(made, segments=torch.full_like(made.ids, self.segment)) if self.model.config.segments else made
