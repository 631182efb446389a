"""Similarity of two words in frequency: in texts of one domain, translations occur about equally often.

Frequency is one of the signals by which Irvine & Callison-Burch (2017) find translations in text that nothing
aligns. Here the logarithm of the ratio of two frequencies counts as if it were normally distributed among
translations: its log density, a negative square, is added to the similarity of vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor

WEIGHT = 0.1
"""What a pair loses in similarity if one word is e (2.7) times as frequent as the other; four times as much
for e ** 2."""


def frequency_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Return how similar each word of one language is to each of the other in frequency: (N, M), 0 at most.

    `first` (N,) and `second` (M,) are relative frequencies, the share of each word in the text of its
    language, all above 0.
    """
    log_ratio = torch.log(first)[:, None] - torch.log(second)
    return -WEIGHT * log_ratio**2
