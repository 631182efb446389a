"""Similarity of two words in frequency: in texts of one domain, translations occur about equally often.

Frequency is one of the signals by which Irvine & Callison-Burch (2017) find translations in unaligned text.
The logarithm of the ratio of two frequencies is taken to be normally distributed among translations. The
similarity is its log density without the constant term: a negative square.
"""

from __future__ import annotations

import torch
from torch import Tensor

WEIGHT = 0.1
"""How much similarity a pair loses if one word is e (2.7) times as frequent as the other. It loses four times
as much if the ratio is e squared (7.4)."""


def frequency_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Return how similar each word of one language is to each of the other in frequency: (N, M), 0 at most.

    `first` (N,) and `second` (M,) are relative frequencies: the share of each word in the text of its
    language. None of them may be 0.
    """
    log_ratio = torch.log(first)[:, None] - torch.log(second)
    return -WEIGHT * log_ratio**2
