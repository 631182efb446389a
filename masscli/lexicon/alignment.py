"""Align two spaces of word vectors, starting from a few word pairs (the anchors).

An orthogonal map aligns the anchors, and its axes are weighted by how well they agree. It is relearned
repeatedly from the dictionary that it induces, whose entries are dropped at random with decreasing
probability (Artetxe, Labaka & Agirre 2018, sections 3.3 and 3.4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from masscli.lexicon.csls import csls, mutual_nearest

ROUNDS = 40
"""Number of rounds of alignment; each starts from the dictionary of the previous one."""
THINNED_ROUNDS = 24
"""Number of first rounds that drop similarities at random before they look for pairs."""
FIRST_KEPT_SHARE = 0.2
"""Share of the similarities that the first round keeps; it grows to 1 over THINNED_ROUNDS rounds."""
LEARNED_WORDS = 2500
"""Number of most frequent words of each language from which the alignment is learned; it is applied to
all words."""


def align_spaces(
    x: Tensor, y: Tensor, anchors: tuple[Tensor, Tensor], spelling: Tensor, seed: int
) -> tuple[Tensor, Tensor]:
    """Map two spaces of word vectors into a common space; return the vectors (N, D) and (M, D) there.

    They have length 1. The dimensions of the result are ordered by how well the spaces agree, best first. The
    rows of x (N, D) and y (M, D) are unit vectors, those of the most frequent words first. `anchors` are the
    rows in x and in y of known translations. `spelling` (N, M) is the similarity in spelling, which is added
    to that of the vectors. `seed` decides which similarities are dropped at random in the first rounds.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = anchors
    for round_number in range(ROUNDS):
        a, b = _rotate(x, y, first, second)
        # The vectors of rare words are too noisy to learn from.
        scores = (
            csls(a[:LEARNED_WORDS], b[:LEARNED_WORDS])
            + spelling[:LEARNED_WORDS, :LEARNED_WORDS]
        )
        if round_number < THINNED_ROUNDS:
            kept_share = (
                FIRST_KEPT_SHARE
                + (1 - FIRST_KEPT_SHARE) * round_number / THINNED_ROUNDS
            )
            # Thinning lets the dictionary leave a local optimum (section 3.3 of the paper).
            dropped = torch.rand(scores.shape, generator=generator) >= kept_share
            scores = scores.masked_fill(dropped, -torch.inf)
        # The anchors always stay in the dictionary.
        rows, columns = mutual_nearest(scores)
        first = torch.cat([rows, anchors[0]])
        second = torch.cat([columns, anchors[1]])
    return _rotate(x, y, first, second)


def _rotate(
    x: Tensor, y: Tensor, first: Tensor, second: Tensor
) -> tuple[Tensor, Tensor]:
    """Rotate the vectors x (N, D) and y (M, D) so that rows `first` of x are close to rows `second` of y.

    Return both, with each axis weighted by how well the pairs agree on it, and vectors scaled to length 1.
    """
    # The orthogonal map that brings the pairs closest together (Procrustes) follows from this decomposition.
    u, s, v = torch.linalg.svd(x[first].T @ y[second])
    a = torch.nn.functional.normalize((x @ u) * s.sqrt(), dim=1)
    b = torch.nn.functional.normalize((y @ v.T) * s.sqrt(), dim=1)
    return a, b
