"""Overlapping windows over a text that is too long for a model, as in BERT for SQuAD (Devlin et al. 2019)."""

from __future__ import annotations

import numpy as np

from masscli.data.batches.batch import Ids


def split_into_windows(
    length: int, max_size: int, stride: int
) -> list[tuple[int, int]]:
    """Return (start, size) of each window over a text of `length` tokens.

    Windows have `max_size` tokens, except that the last one ends with the text. Each begins `stride` tokens
    after the one before it, or `max_size` tokens after it if that is less.
    """
    windows = []
    start = 0
    while True:
        size = min(max_size, length - start)
        windows.append((start, size))
        if start + size >= length:
            return windows
        # With a stride above the size, tokens between two windows would be lost.
        start += min(size, stride)


def best_window_per_token(windows: list[tuple[int, int]], length: int) -> Ids:
    """Return (length,) for each token of a text the index in `windows` of the one where it has most context.

    `windows` has (start, size) of each. Context is the number of tokens before or after the token in the
    window, whichever is less, plus 0.01 for each token of the window, as in BERT's run_squad.py: of windows
    with as many tokens around it the longer one wins, and one that is longer by more than 100 tokens
    outweighs a token of context. Of equal windows the first one wins.
    """
    if not length:
        return np.zeros(0, np.int64)
    # -1 is less than any context, for windows that do not hold the token.
    context = np.full((len(windows), length), -1.0)
    for number, (start, size) in enumerate(windows):
        left = np.arange(size)
        right = size - 1 - left
        # BERT's weight of the size. It breaks ties between windows that differ little in size.
        context[number, start : start + size] = np.minimum(left, right) + 0.01 * size
    best: Ids = context.argmax(0).astype(np.int64)
    return best
