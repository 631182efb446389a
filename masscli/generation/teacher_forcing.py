"""Log-probabilities of given outputs: each token is predicted from those before it, as in training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from masscli.data.batches.batch import Tokens
from masscli.generation.stepper import Stepper
from masscli.models.transformer import Transformer

LOGIT_ROWS = 512
"""Number of tokens whose logits are in memory at a time when given text is scored."""


def score_at_once(
    models: Sequence[Transformer], source: Tokens, target: Tokens, labels: Tensor
) -> Tensor:
    """Return the log-probabilities (B, T) of `labels` (B, T), the tokens that follow those of `target`.

    The probabilities of several models are averaged. All tensors are on the device of the models. The results
    are meaningless beyond the lengths of `target`.
    """
    total = None
    for model in models:
        hidden = model.decode(target, model.encode(source)).flatten(0, 1)
        parts = []
        # The logits of a whole batch would need V numbers for each of its tokens.
        hidden_parts = torch.split(hidden, LOGIT_ROWS)
        label_parts = torch.split(labels.flatten(), LOGIT_ROWS)
        for states, ids in zip(hidden_parts, label_parts, strict=True):
            log_probabilities = torch.log_softmax(
                model.logits(states), -1, dtype=torch.float32
            )
            parts.append(log_probabilities.gather(1, ids[:, None])[:, 0])
        scores = torch.cat(parts).view_as(labels)
        total = scores if total is None else torch.logaddexp(total, scores)
    assert total is not None
    return total - math.log(len(models))


def score_step_by_step(stepper: Stepper, rows: Tensor, lengths: Tensor) -> Tensor:
    """Return the log-probabilities (B, T) of rows[:, 1:], computed one step at a time.

    `rows` (B, T + 1) are padded outputs between the decoder's first input and the end symbol. The results
    are 0 beyond `lengths` (B,), the numbers of tokens to score, where there may be no positions left. Both
    are on the device of the stepper's models.
    """
    steps = rows.shape[1] - 1
    scores = torch.zeros(len(rows), steps, device=rows.device)
    running = torch.arange(len(rows), device=rows.device)
    for t in range(steps):
        is_running = lengths[running] > t
        # Rows that are complete leave the batch.
        if not bool(is_running.all()):
            stepper.keep(torch.nonzero(is_running)[:, 0])
            running = running[is_running]
        log_probabilities = stepper(rows[running, t])
        # The model predicts the piece at t + 1 from the one at t.
        scores[running, t] = log_probabilities.gather(1, rows[running, t + 1, None])[
            :, 0
        ]
    return scores
