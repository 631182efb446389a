"""Windows over a text that is longer than a model can read, and which of them sees most around a token (Devlin et al. 2019, on SQuAD)."""

from __future__ import annotations

import numpy as np

from masscli.data.batches.batch import Ids


def split_into_windows(length: int, room: int, stride: int) -> list[tuple[int, int]]:
    """(start, tokens) of each window of at most `room` tokens; each begins `stride` after the one before (or its length, where that is
    less), and the last one reaches the end."""
    found, start = [], 0
    while True:
        size = min(room, length - start)
        found.append((start, size))
        if start + size >= length:
            return found
        start += min(size, stride)


def best_window_per_token(windows: list[tuple[int, int]], length: int) -> Ids:
    """(length,): for each token the window in which it has most context on its poorer side; of equals the longer, then the first."""
    scores = np.full((len(windows), length), -1.0)
    for n, (start, size) in enumerate(windows):
        left = np.arange(size)
        scores[n, start : start + size] = np.minimum(left, size - 1 - left) + 0.01 * size
    found: Ids = scores.argmax(0).astype(np.int64) if length else np.zeros(0, np.int64)
    return found
