"""Accuracy: the share of lines that are equal to a reference, apart from white space at their ends.

In CoNLL columns blank lines separate sentences. A line that is blank in the hypothesis and in all references
is therefore no example, and is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from sacrebleu.metrics.base import Score

from masscli.metrics.config import ScoreConfig
from masscli.metrics.mean_metric import MeanMetric


class Accuracy(MeanMetric):
    """Accuracy: the percentage of lines that are equal to their reference, or to one of several."""

    title: ClassVar[str] = "accuracy"
    no_gold: str

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with the settings in `options`, which are those of `masscli score`."""
        metric = super().from_options(options)
        # Lines with this mark have been left out before; it is kept for the signature.
        metric.no_gold = options.no_gold or ""
        return metric

    def line_score(self, hypothesis: str, reference: str) -> float:
        """Return 1.0 if a line is equal to its reference apart from white space at the ends, else 0.0.

        Case does not count with --lowercase.
        """
        hypothesis = hypothesis.strip()
        reference = reference.strip()
        if self.lowercase:
            hypothesis = hypothesis.lower()
            reference = reference.lower()
        return float(hypothesis == reference)

    def signature_fields(self) -> dict[str, str]:
        """Return the settings for the signature: whether case counts, and the label of examples left out."""
        fields = {"case": "lc" if self.lowercase else "mixed"}
        if self.no_gold:
            fields["nogold"] = self.no_gold
        return fields

    def _compute_segment_statistics(
        self, hypothesis: str, ref_kwargs: dict[str, Any]
    ) -> list[float]:
        """Return the score of a line and its count of 1, or zeros for a line that is blank on both sides."""
        is_blank = not hypothesis.strip() and not any(
            line.strip() for line in ref_kwargs["references"]
        )
        if is_blank:
            # A line that is not an example has neither a score nor a count.
            return [0.0, 0.0]
        return super()._compute_segment_statistics(hypothesis, ref_kwargs)

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        """Return the score, given the sum of scores and the number of lines; it is 0 without lines."""
        # A sample may consist of blank lines only.
        if stats[1] == 0:
            stats = [0.0, 1.0]
        return super()._compute_score_from_stats(stats)
