"""Measures of agreement of labels and of numbers, computed from their definitions.

They are in [0, 1], or in [-1, 1] for correlations, not times 100.

F1 of a label is 2 tp / (2 tp + fp + fn), and macro F1 is its mean over labels. Matthews' coefficient is the
correlation of two labelings (Gorodkin 2004 for more than two labels). Spearman's correlation is Pearson's
correlation of the ranks, where equal values share the mean of their ranks.

A measure that would divide by zero (a constant prediction, a label that does not occur) is 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

Labels = Sequence[str]


def accuracy(gold: Labels, predicted: Labels) -> float:
    """Return the share of positions at which both lists have the same label, from 0 to 1."""
    # Without any label the count is 0, and so is the quotient by 1.
    return _count_equal(gold, predicted) / max(1, len(gold))


def f1(gold: Labels, predicted: Labels, positive: str) -> float:
    """Return F1 of the label `positive`, from 0 to 1; it is 0 if neither list has this label."""
    true_positives = sum(
        a == b == positive for a, b in zip(gold, predicted, strict=True)
    )
    # The sum of both counts is 2 tp + fp + fn.
    return _ratio(2 * true_positives, gold.count(positive) + predicted.count(positive))


def macro_f1(gold: Labels, predicted: Labels) -> float:
    """Return the mean of F1 over all labels that occur in `gold` or `predicted`, except the empty label."""
    # Sorted, so that the sum has the same rounding every time.
    labels = sorted({*gold, *predicted} - {""})
    # The mean is over labels and not over examples, so that rare labels weigh as much as frequent ones.
    return _ratio(sum(f1(gold, predicted, label) for label in labels), len(labels))


def matthews(gold: Labels, predicted: Labels) -> float:
    """Return Matthews' correlation coefficient of two labelings, from -1 to 1; 0 if either is constant."""
    # All three terms are covariances of the one-hot vectors of the labels, times n * n.
    n = len(gold)
    gold_counts = Counter(gold)
    predicted_counts = Counter(predicted)
    # A label that only one side has adds nothing, so the labels of one side are enough.
    expected = sum(
        predicted_counts[label] * gold_counts[label] for label in gold_counts
    )
    covariance = _count_equal(gold, predicted) * n - expected
    gold_variance = n * n - sum(count * count for count in gold_counts.values())
    predicted_variance = n * n - sum(
        count * count for count in predicted_counts.values()
    )
    return _correlation(covariance, gold_variance, predicted_variance)


def pearson(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Return Pearson's correlation coefficient, from -1 to 1; 0 if either list is constant."""
    # The mean of equal numbers may differ from them by rounding, and their deviations correlate by chance.
    if len(set(gold)) < 2 or len(set(predicted)) < 2:
        return 0.0
    gold_deviations = _deviations(gold)
    predicted_deviations = _deviations(predicted)
    covariance = math.fsum(
        a * b for a, b in zip(gold_deviations, predicted_deviations, strict=True)
    )
    gold_variance = math.fsum(deviation**2 for deviation in gold_deviations)
    predicted_variance = math.fsum(deviation**2 for deviation in predicted_deviations)
    return _correlation(covariance, gold_variance, predicted_variance)


def spearman(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Return Spearman's rank correlation coefficient, from -1 to 1; 0 if either list is constant."""
    return pearson(ranks(gold), ranks(predicted))


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, where the smallest has rank 1; equal values share their mean rank."""
    # Positions in the list, in the order of their values.
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks_of_values = [0.0] * len(values)
    start = 0
    # Find each run of equal values: its positions in the order are start to end - 1, its mean rank their
    # mean plus 1.
    while start < len(order):
        end = start + 1
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for position in order[start:end]:
            ranks_of_values[position] = (start + 1 + end) / 2
        start = end
    return ranks_of_values


def choose_positive_label(labels: Sequence[str], positive: str) -> str | None:
    """Return the label whose F1 is computed, or None, which stands for macro F1.

    It is `positive` unless this is empty, or else the second in alphabetical order if there are two labels,
    and None otherwise. `labels` are the distinct labels.
    """
    if positive:
        return positive
    if len(labels) == 2:
        # As in GLUE, where labels are 0 and 1, the second one is the positive one.
        return sorted(labels)[1]
    return None


def _count_equal(gold: Labels, predicted: Labels) -> int:
    """Return the number of positions at which both lists have the same label."""
    return sum(a == b for a, b in zip(gold, predicted, strict=True))


def _deviations(values: Sequence[float]) -> list[float]:
    """Return the difference of each value from the mean of all, times a power of two.

    The power of two brings the largest value below 1, and changes no correlation.
    """
    # The squares of large numbers would overflow. To scale by a power of two is exact.
    exponent = math.frexp(max(map(abs, values)))[1]
    scaled = [math.ldexp(value, -exponent) for value in values]
    # An exact sum does not depend on the order of the lines.
    mean = math.fsum(scaled) / len(scaled)
    return [value - mean for value in scaled]


def _correlation(covariance: float, variance: float, other_variance: float) -> float:
    """Return the correlation of two variables with these (co)variances, or 0 if one of them is constant."""
    correlation = _ratio(covariance, math.sqrt(variance) * math.sqrt(other_variance))
    # Rounding may carry a perfect correlation beyond 1.
    if abs(correlation) > 1:
        return math.copysign(1.0, correlation)
    return correlation


def _ratio(numerator: float, denominator: float) -> float:
    """Return the quotient, or 0 if the denominator is 0."""
    if denominator == 0:
        return 0.0
    return numerator / denominator
