"""Find pairs of sentences that are translations of each other, by margin scores over encoder states.

The margin of two sentences is their cosine divided by the mean cosine of each with its nearest
neighbors in the other language (Artetxe and Schwenk 2019, "ratio"), so that sentences that are similar
to everything have no advantage. Candidates are the best matches of each sentence in both directions; of
candidates that share a sentence, the one with the highest margin is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEIGHBORS = 4
"""Number of nearest neighbors of a sentence over which the margin averages, as published."""
SMALLEST_MEAN = 0.1
"""Lower bound of the mean cosine with the neighbors, by which a margin divides; with less, sentences that
are not similar could have a high margin."""
ROWS = 512
"""Number of sentences that are compared with all others at a time."""


def mine_pairs(
    sources: Tensor, targets: Tensor, threshold: float
) -> list[tuple[float, int, int]]:
    """Return (margin, source index, target index) of each mined pair, the highest margin first.

    `sources` (N, D) and `targets` (M, D) are vectors of sentences; one of zeros is an empty line, which is in
    no pair. Pairs with a margin below `threshold` are left out, and no sentence is in two pairs.
    """
    # The numbers of the lines that are not empty.
    source_lines = sources.any(1).nonzero()[:, 0].tolist()
    target_lines = targets.any(1).nonzero()[:, 0].tolist()
    if not source_lines or not target_lines:
        return []
    sources, targets = (
        _normalize(sources[source_lines]),
        _normalize(targets[target_lines]),
    )
    means_of_sources = _mean_of_nearest(sources, targets)
    means_of_targets = _mean_of_nearest(targets, sources)
    candidates: dict[tuple[int, int], float] = {}
    forward = _best(sources, targets, means_of_sources, means_of_targets)
    for source, (margin, target) in enumerate(forward):
        candidates[source, target] = margin
    backward = _best(targets, sources, means_of_targets, means_of_sources)
    for target, (margin, source) in enumerate(backward):
        candidates[source, target] = margin
    mined = []
    used_sources: set[int] = set()
    used_targets: set[int] = set()
    # Best first, so that a sentence is in the best pair that is still free; indices break ties.
    for (source, target), margin in sorted(
        candidates.items(), key=lambda item: (-item[1], item[0])
    ):
        is_free = source not in used_sources and target not in used_targets
        if margin >= threshold and is_free:
            used_sources.add(source)
            used_targets.add(target)
            mined.append((margin, source_lines[source], target_lines[target]))
    return mined


def _normalize(vectors: Tensor) -> Tensor:
    """Return vectors (N, D) of one language less their mean, scaled to length 1."""
    return torch.nn.functional.normalize(vectors - vectors.mean(0), dim=1)


def _mean_of_nearest(vectors: Tensor, others: Tensor) -> Tensor:
    """Return the mean cosine (N,) of each vector (N, D) with its nearest neighbors in `others` (M, D)."""
    count = min(NEIGHBORS, len(others))
    means = []
    # All cosines at once would take N * M numbers.
    for part in torch.split(vectors, ROWS):
        cosines = part @ others.T
        means.append(cosines.topk(count, 1).values.mean(1))
    return torch.cat(means)


def _best(
    vectors: Tensor, others: Tensor, means: Tensor, means_of_others: Tensor
) -> list[tuple[float, int]]:
    """Return for each of `vectors` its highest margin with any of `others`, and the index of that one.

    `vectors` (N, D) and `others` (M, D) have length 1; `means` (N,) and `means_of_others` (M,) are the mean
    cosines of each with its nearest neighbors on the other side.
    """
    best: list[tuple[float, int]] = []
    for part, part_means in zip(
        torch.split(vectors, ROWS), torch.split(means, ROWS), strict=True
    ):
        # If the neighbors are dissimilar, too, the ratio alone would be meaningless.
        neighbors = ((part_means[:, None] + means_of_others) / 2).clamp(
            min=SMALLEST_MEAN
        )
        margins = (part @ others.T) / neighbors
        values, numbers = margins.max(1)
        best += list(zip(values.tolist(), numbers.tolist(), strict=True))
    return best
