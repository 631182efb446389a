"""Score running text with a language model that reads windows, each token with enough context.

A window begins with the start symbol in place of the token before it, as in training. Windows overlap
by `context` tokens, which only the first window predicts: every token of the text is predicted once,
and those after the first window from at least `context` tokens. Without overlap this is the loss that
training reports.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from masscli.data.batches.batch import Ids, Tokens, pad
from masscli.data.batches.framing import Framing
from masscli.generation.teacher_forcing import LOGIT_ROWS
from masscli.models.transformer import Transformer


def windows(length: int, size: int, context: int) -> Iterator[tuple[int, int, int]]:
    """Yield (begin, first, end) of each window of a text of `length` tokens.

    A window has at most `size` tokens, from `begin` to `end` - 1. Those from `first` on are predicted;
    those before `first`, at most `context` tokens, are only read. Raises ValueError unless `context` is
    between 0 and `size` - 1: other windows would predict nothing, and have no end.
    """
    if not 0 <= context < size:
        raise ValueError(
            f"a window of {size} tokens has no room for {context} tokens of context"
        )
    first = 0
    while first < length:
        begin = max(0, first - context)
        # The first window has no context to leave out.
        end = min(length, begin + size)
        yield begin, first, end
        first = end


@torch.inference_mode()
def negative_log_likelihood(
    model: Transformer,
    framing: Framing,
    text: Ids,
    language: str,
    size: int,
    context: int,
    batch_tokens: int,
) -> float:
    """Return the negative log-likelihood in nats of running text, as token ids (N,).

    It is summed over all tokens. `size` is the length of a window in tokens, and `context` how many of them
    only serve as context, except in the first window, which has none. The windows that are read at a time
    have at most `batch_tokens` tokens.
    """
    device = next(model.parameters()).device
    start = np.array([framing.decoder_start(language)])
    spans = list(windows(len(text), size, context))
    batch_size = max(1, batch_tokens // size)
    total = 0.0
    for number in range(0, len(spans), batch_size):
        batch = spans[number : number + batch_size]
        # The last token of a window is only predicted.
        rows = [
            np.concatenate([start, text[begin : end - 1]]) for begin, _, end in batch
        ]
        inputs, lengths = pad(rows, framing.vocab.pad)
        tokens = Tokens(
            inputs, lengths, language=framing.language_tensor(language, len(batch))
        ).to(device)
        hidden = model.decode(tokens, None)
        for row, (begin, first, end) in enumerate(batch):
            states = hidden[row, first - begin : end - begin]
            labels = torch.from_numpy(np.asarray(text[first:end], np.int64)).to(device)
            total += _sum_of_losses(model, states, labels)
    return total


def _sum_of_losses(
    model: Transformer, states: torch.Tensor, labels: torch.Tensor
) -> float:
    """Return the summed cross-entropy, in nats, of labels (T,) given the states (T, D) that predict them."""
    total = 0.0
    for part, ids in zip(
        torch.split(states, LOGIT_ROWS), torch.split(labels, LOGIT_ROWS), strict=True
    ):
        log_probabilities = torch.log_softmax(
            model.logits(part), -1, dtype=torch.float32
        )
        # Over a long text, sums in fp32 would lose digits.
        total -= float(log_probabilities.gather(1, ids[:, None]).double().sum())
    return total
