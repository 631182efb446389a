"""How well an encoder aligns two languages, before it can translate: does a sentence find its translation among all of them?

A sentence is the mean of its encoder states, less the mean of its language (which would tell languages apart and nothing else); it
finds the sentence of the other side with the highest cosine.  Precision at 1 of chance is one by the number of sentences.  The earliest
sign that unsupervised translation will work, or will not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from masscli.data.batches.batch import Ids, Tokens, pad
from masscli.data.batches.framing import Framing
from masscli.models.transformer import Transformer

ROWS = 64
"""Sentences that are encoded at a time, and compared at a time."""


@torch.inference_mode()
def sentence_vectors(model: Transformer, framing: Framing, lines: Sequence[Ids], language: str) -> Tensor:
    """(N, D) means of encoder states over the words of each line, symbols at its ends left out, in fp32 on the model's device.

    An empty line is a vector of zeros.  A line is cut to what the model can read.
    """
    training = model.training
    model.eval()
    device, limit = next(model.parameters()).device, model.config.max_positions - framing.prefix_length - 1
    out = torch.zeros(len(lines), model.config.dim, device=device)
    order = sorted(range(len(lines)), key=lambda i: len(lines[i]))
    for first in range(0, len(order), ROWS):
        rows = order[first : first + ROWS]
        ids, lengths = pad(
            [framing.encoder_input(lines[i][:limit], language) for i in rows], framing.vocab.pad
        )
        source = Tokens(ids, lengths, language=framing.language_tensor(language, len(rows))).to(device)
        at = torch.arange(ids.shape[1], device=device)
        words = (at >= framing.prefix_length) & (at < source.lengths[:, None] - 1)
        states = model.encode(source).hidden.float() * words[..., None]
        out[rows] = states.sum(1) / words.sum(1, keepdim=True).clamp(min=1)
    model.train(training)
    return out


def precision_at_1(queries: Tensor, keys: Tensor) -> float:
    """Share of the rows of `queries` (N, D) whose most similar row of `keys` (N, D) has the same number; of equals, the first counts."""
    queries, keys = (torch.nn.functional.normalize(x - x.mean(0), dim=1) for x in (queries, keys))
    found = torch.cat([(part @ keys.T).argmax(1) for part in torch.split(queries, ROWS)])
    return float((found == torch.arange(len(queries), device=queries.device)).double().mean())
