"""Find which words of two languages mean the same, starting from a few word pairs (the anchors).

Learning goes in rounds. In each, an orthogonal map aligns the word vectors of the known pairs, and its axes
are weighted by how well the pairs agree (Artetxe, Labaka & Agirre 2018, section 3.4). All words are then
compared by the mapped vectors and by the known pairs that they occur near (masscli/lexicon/company.py).
Mutual nearest neighbors, together with the anchors, are the known pairs of the next round. Similarities are
dropped at random, with a probability that decreases over the rounds (section 3.3 of the same paper).

A word is its rank by frequency in its language, from 0. A set of pairs is two tensors of these ranks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from masscli.lexicon.company import company_similarity
from masscli.lexicon.cooccurrence import WordSpace
from masscli.lexicon.csls import csls, mutual_nearest

ROUNDS = 24
"""Number of rounds of learning; each starts from the pairs of the previous one."""
THINNED_ROUNDS = 16
"""Number of rounds, the first ones, that drop similarities at random before they look for pairs."""
FIRST_KEPT_SHARE = 0.2
"""Share of the similarities that the first round keeps; it grows to 1 over THINNED_ROUNDS rounds."""
REFINING_ROUNDS = 3
"""Number of rounds of learning after a vote."""
LEARNED_WORDS = 1500
"""Number of most frequent words of each language from which pairs are learned, because the vectors of rare
words are too noisy; all words are compared in the end."""


def learn_pairs(
    first: WordSpace,
    second: WordSpace,
    anchors: tuple[Tensor, Tensor],
    prior: Tensor,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Return pairs of frequent words that mean the same, learned from `anchors`, which are always included.

    `prior` (N, M) is the similarity of words that is known before learning, in spelling and frequency. It is
    added to their similarity in usage. `seed` decides which similarities are dropped at random.
    """
    generator = torch.Generator().manual_seed(seed)
    pairs = anchors
    for round_number in range(ROUNDS):
        scores = _frequent_scores(first, second, pairs, prior)
        if round_number < THINNED_ROUNDS:
            kept_share = (
                FIRST_KEPT_SHARE
                + (1 - FIRST_KEPT_SHARE) * round_number / THINNED_ROUNDS
            )
            # Thinning lets the dictionary leave a local optimum (section 3.3 of the paper).
            dropped = torch.rand(scores.shape, generator=generator) >= kept_share
            scores = scores.masked_fill(dropped, -torch.inf)
        pairs = _nearest_and_anchors(scores, anchors)
    return pairs


def refine_pairs(
    first: WordSpace,
    second: WordSpace,
    anchors: tuple[Tensor, Tensor],
    prior: Tensor,
    scores: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return pairs of frequent words that mean the same, learned from the votes `scores` (N, M).

    The other arguments are those of `learn_pairs`. Nothing is dropped at random.
    """
    pairs = _nearest_and_anchors(scores[:LEARNED_WORDS, :LEARNED_WORDS], anchors)
    for _ in range(REFINING_ROUNDS):
        scores = _frequent_scores(first, second, pairs, prior)
        pairs = _nearest_and_anchors(scores, anchors)
    return pairs


def usage_similarity(
    first: WordSpace,
    second: WordSpace,
    pairs: tuple[Tensor, Tensor],
    words: int | None = None,
) -> Tensor:
    """Return how similar the `words` most frequent words (None: all) of two languages are in usage: (N, M).

    This is the sum of two similarities: that of their word vectors, aligned by the known `pairs`, and that of
    their company.
    """
    a, b = align_vectors(first.vectors, second.vectors, pairs)
    company = company_similarity(first.information, second.information, pairs, words)
    return csls(a[:words], b[:words]) + company


def align_vectors(
    x: Tensor, y: Tensor, pairs: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Rotate the vectors x (N, D) and y (M, D) into a common space, in which those of `pairs` are close.

    Return both, with each axis weighted by how well the pairs agree on it, and vectors scaled to length 1.
    The axes are ordered by how well the pairs agree, best first.
    """
    rows, columns = pairs
    # The orthogonal map that brings the pairs closest together (Procrustes) follows from this decomposition.
    u, s, v = torch.linalg.svd(x[rows].T @ y[columns])
    a = torch.nn.functional.normalize((x @ u) * s.sqrt(), dim=1)
    b = torch.nn.functional.normalize((y @ v.T) * s.sqrt(), dim=1)
    return a, b


def _frequent_scores(
    first: WordSpace, second: WordSpace, pairs: tuple[Tensor, Tensor], prior: Tensor
) -> Tensor:
    """Return the similarity in usage plus `prior` of the LEARNED_WORDS most frequent words."""
    usage = usage_similarity(first, second, pairs, LEARNED_WORDS)
    return usage + prior[:LEARNED_WORDS, :LEARNED_WORDS]


def _nearest_and_anchors(
    scores: Tensor, anchors: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the pairs that score highest with each other in `scores` (N, M), followed by the anchors."""
    rows, columns = mutual_nearest(scores)
    return torch.cat([rows, anchors[0]]), torch.cat([columns, anchors[1]])
