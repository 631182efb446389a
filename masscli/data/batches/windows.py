"""Windows over a text that is longer than a model can read, as BERT does for SQuAD (Devlin et al. 2019)."""

from __future__ import annotations

import numpy as np

from masscli.data.batches.batch import Ids


def split_into_windows(length: int, max_size: int, stride: int) -> list[tuple[int, int]]:
    """Return (start, size) of each window over a text of `length` tokens.

    A window has at most `max_size` tokens. It begins `stride` tokens after the one before it (or the size of
    that one, if that is less), and the last one reaches the end of the text.
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
    """Return for each token the number of the window in which it has most context: (length,).

    The context of a token is that of the side that has less of it. Of windows with equal context the longer
    one wins, and of equal ones the first.
    """
    if not length:
        return np.zeros(0, np.int64)
    # -1 is less than any context, for windows that do not hold the token.
    context = np.full((len(windows), length), -1.0)
    for number, (start, size) in enumerate(windows):
        left = np.arange(size)
        right = size - 1 - left
        # The size breaks ties, and is too small to outweigh a token of context.
        context[number, start : start + size] = np.minimum(left, right) + 0.01 * size
    best: Ids = context.argmax(0).astype(np.int64)
    return best
