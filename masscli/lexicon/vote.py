"""Let several dictionaries of the same text vote, which differ only in their random numbers.

Each (masscli/lexicon/alignment.py) ends in a local optimum of its own. Most of them find the pairs that the
text supports, but pairs found by chance differ. So the mean of their similarities has fewer errors than each
of them, as in bagging (Breiman 1996).
"""

from __future__ import annotations

import torch
from torch import Tensor

from masscli.lexicon.alignment import learn_pairs, similarity
from masscli.lexicon.cooccurrence import WordSpace

DRAWS = 6
"""Number of dictionaries that vote; it is even, because two halves are compared."""


def vote(
    first: WordSpace,
    second: WordSpace,
    anchors: tuple[Tensor, Tensor],
    likeness: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the votes of two halves of DRAWS dictionaries: scores (N, M) of all words, twice.

    Each is the mean over its dictionaries of the similarity in use, plus `likeness`. The arguments are those
    of `learn_pairs`. The mean of both is the vote; where they differ, it is chance. The same arguments give
    the same votes. With 2,200 words of each language a draw takes 4 seconds of one core.
    """
    halves = (torch.zeros_like(likeness), torch.zeros_like(likeness))
    for draw in range(DRAWS):
        pairs = learn_pairs(first, second, anchors, likeness, seed=draw)
        # Added up at once, since 5,000 words of each language are 100 MB of similarities.
        halves[draw % 2].add_(similarity(first, second, pairs))
    odd, even = (half / (DRAWS // 2) + likeness for half in halves)
    return odd, even
