"""Sentence retrieval: measure how well an encoder aligns two languages.

A sentence is the mean of its encoder states, minus the mean of its language (which would tell the languages
apart and nothing else). It retrieves the sentence of the other language with the highest cosine. By chance,
precision at 1 is one divided by the number of sentences. This is the earliest sign of whether unsupervised
translation will work.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from masscli.data.batches.batch import Ids, Tokens, pad
from masscli.data.batches.framing import Framing
from masscli.models.transformer import Transformer

BATCH_SIZE = 64
"""How many sentences are encoded at a time, and compared at a time."""


@torch.inference_mode()
def sentence_vectors(
    model: Transformer, framing: Framing, lines: Sequence[Ids], language: str
) -> Tensor:
    """Return the mean encoder state of each line, without special tokens: (N, D) in fp32.

    `lines` are token ids in one language. An empty line has a vector of zeros, and a line that is too
    long for the model is truncated. Raises MasscliError for a model with separate vocabularies of
    source and target, whose encoder supports only one language.
    """
    # Of two vocabularies the encoder knows only one.
    framing.vocab.check_direction(language, language)
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    prefix_length = framing.prefix_length
    max_length = model.config.max_positions - prefix_length - framing.suffix_length
    vectors = torch.zeros(len(lines), model.config.dim, device=device)
    # Sentences of similar length need little padding.
    order = sorted(range(len(lines)), key=lambda i: len(lines[i]))
    for first in range(0, len(order), BATCH_SIZE):
        batch = order[first : first + BATCH_SIZE]
        inputs = [framing.encoder_input(lines[i][:max_length], language) for i in batch]
        ids, lengths = pad(inputs, framing.vocab.pad)
        source = Tokens(
            ids, lengths, language=framing.language_tensor(language, len(batch))
        ).to(device)
        positions = torch.arange(ids.shape[1], device=device)
        # The start and end symbols are the same in all sentences and carry no information.
        ends = source.lengths[:, None] - framing.suffix_length
        is_text = (positions >= prefix_length) & (positions < ends)
        states = model.encode(source).hidden.float() * is_text[..., None]
        # An empty line has no text to divide by.
        vectors[batch] = states.sum(1) / is_text.sum(1, keepdim=True).clamp(min=1)
    # The model belongs to a trainer, so its mode is restored.
    model.train(training)
    return vectors


def precision_at_1(queries: Tensor, keys: Tensor) -> float:
    """Return the share, from 0 to 1, of `queries` (N, D) whose most similar key (N, D) has the same index.

    Similarity is the cosine after the mean of each side is subtracted. Of equally similar keys the first
    counts.
    """
    queries = torch.nn.functional.normalize(queries - queries.mean(0), dim=1)
    keys = torch.nn.functional.normalize(keys - keys.mean(0), dim=1)
    # All similarities at once would take N * N numbers.
    nearest = torch.cat(
        [(part @ keys.T).argmax(1) for part in torch.split(queries, BATCH_SIZE)]
    )
    return float(
        (nearest == torch.arange(len(queries), device=queries.device)).double().mean()
    )
