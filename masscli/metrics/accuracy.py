"""Accuracy: the share of lines that are equal to a reference, apart from spaces at the ends.

Lines that are blank on both sides separate the sentences of CoNLL columns. They are no examples and are not
counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from sacrebleu.metrics.base import Score

from masscli.metrics.config import ScoreConfig
from masscli.metrics.mean_metric import MeanMetric


class Accuracy(MeanMetric):
    """Accuracy: the share of lines that are equal to their reference."""

    title: ClassVar[str] = "accuracy"
    no_gold: str

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with the settings of `options`."""
        metric = super().from_options(options)
        # Lines with this mark have been left out before; it is kept for the signature.
        metric.no_gold = options.no_gold or ""
        return metric

    def line_score(self, hypothesis: str, reference: str) -> float:
        """Return 1 if the line is equal to its reference, else 0."""
        hypothesis = hypothesis.strip()
        reference = reference.strip()
        if self.lowercase:
            hypothesis = hypothesis.lower()
            reference = reference.lower()
        return float(hypothesis == reference)

    def signature_fields(self) -> dict[str, str]:
        """Return the signature fields: whether case counts, and the label of examples left out."""
        fields = {"case": "lc" if self.lowercase else "mixed"}
        if self.no_gold:
            fields["nogold"] = self.no_gold
        return fields

    def _compute_segment_statistics(self, hypothesis: str, ref_kwargs: dict[str, Any]) -> list[float]:
        is_blank = not hypothesis.strip() and not any(line.strip() for line in ref_kwargs["references"])
        if is_blank:
            # A line that is no example has neither a score nor a count.
            return [0.0, 0.0]
        return super()._compute_segment_statistics(hypothesis, ref_kwargs)

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        # A sample may consist of blank lines only.
        if stats[1] == 0:
            stats = [0.0, 1.0]
        return super()._compute_score_from_stats(stats)
