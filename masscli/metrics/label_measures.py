"""Measures of labels and numbers, from their definitions; in [0, 1], or [-1, 1] for correlations.

    F1 = 2 tp / (2 tp + fp + fn) of one label; macro: the mean over labels.    Matthews: the correlation of two labellings (Gorodkin 2004
    for more than two labels).    Pearson's r; Spearman's: that of ranks, equal values sharing the mean of theirs.

What divides by zero (a constant prediction, a label that is nowhere) counts as 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

Labels = Sequence[str]


def accuracy(gold: Labels, predicted: Labels) -> float:
    """Share of equal labels."""
    return sum(a == b for a, b in zip(gold, predicted, strict=True)) / max(1, len(gold))


def f1(gold: Labels, predicted: Labels, positive: str) -> float:
    """F1 of one label."""
    shared = sum(a == b == positive for a, b in zip(gold, predicted, strict=True))
    return _ratio(2 * shared, sum(a == positive for a in gold) + sum(b == positive for b in predicted))


def macro_f1(gold: Labels, predicted: Labels) -> float:
    """Mean of F1 over all labels that occur; a blank is none."""
    labels = sorted({*gold, *predicted} - {""})
    return _ratio(sum(f1(gold, predicted, label) for label in labels), len(labels))


def matthews(gold: Labels, predicted: Labels) -> float:
    """Correlation of two labellings."""
    n, right = len(gold), sum(a == b for a, b in zip(gold, predicted, strict=True))
    ours, theirs = Counter(predicted), Counter(gold)
    above = right * n - sum(ours[label] * theirs[label] for label in theirs)
    return _ratio(
        above,
        math.sqrt(n * n - sum(c * c for c in ours.values()))
        * math.sqrt(n * n - sum(c * c for c in theirs.values())),
    )


def pearson(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Linear correlation."""
    n = max(1, len(gold))
    x, y = math.fsum(gold) / n, math.fsum(predicted) / n
    shared = math.fsum((a - x) * (b - y) for a, b in zip(gold, predicted, strict=True))
    return _ratio(
        shared,
        math.sqrt(math.fsum((a - x) ** 2 for a in gold))
        * math.sqrt(math.fsum((b - y) ** 2 for b in predicted)),
    )


def spearman(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Correlation of ranks."""
    return pearson(ranks(gold), ranks(predicted))


def ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found, at = [0.0] * len(values), 0
    while at < len(order):
        end = at + 1
        while end < len(order) and values[order[end]] == values[order[at]]:
            end += 1
        for place in order[at:end]:
            found[place] = (at + 1 + end) / 2
        at = end
    return found


def choose_positive_label(labels: Sequence[str], positive: str) -> str | None:
    """The label that F1 is about: the one named, the second of two, None (all of them) of more."""
    if positive:
        return positive
    return sorted(labels)[1] if len(labels) == 2 else None


def _ratio(above: float, below: float) -> float:
    return above / below if below else 0.0
