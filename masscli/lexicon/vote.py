"""Let several dictionaries vote that are learned from the same text with different random numbers.

Learning (masscli/lexicon/alignment.py) ends in a local optimum, which depends on the random numbers. Pairs
that the text supports are found in most optima, and pairs found by chance in only a few. So the mean of the
similarities has fewer errors than those of one dictionary, as in bagging (Breiman 1996).
"""

from __future__ import annotations

import torch
from torch import Tensor

from masscli.lexicon.alignment import learn_pairs, usage_similarity
from masscli.lexicon.cooccurrence import WordSpace

DRAWS = 6
"""Number of dictionaries that vote. It is even, since the votes of two halves are compared."""


def vote(
    first: WordSpace,
    second: WordSpace,
    anchors: tuple[Tensor, Tensor],
    prior: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the votes of two halves of DRAWS dictionaries, each of them scores (N, M) of all pairs of words.

    The arguments are those of `learn_pairs`. A half is the mean over its dictionaries of the similarity in
    usage, plus `prior`. The mean of both halves is the vote; where the halves differ, a score is a matter of
    chance. The same arguments give the same votes. With 2,200 words of each language a dictionary takes 4
    seconds of one core.
    """
    halves = (torch.zeros_like(prior), torch.zeros_like(prior))
    for draw in range(DRAWS):
        pairs = learn_pairs(first, second, anchors, prior, seed=draw)
        # Similarities are summed and not kept: those of 5,000 words of each language take 100 MB.
        halves[draw % 2].add_(usage_similarity(first, second, pairs))
    odd, even = (half / (DRAWS // 2) + prior for half in halves)
    return odd, even
