"""The share of lines that equal their reference (any of several), spaces at the ends aside.

Lines that are blank on both sides separate sentences of CoNLL columns: they are no examples, and are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from sacrebleu.metrics.base import Score

from masscli.metrics.config import ScoreConfig
from masscli.metrics.mean_metric import MeanMetric


class Accuracy(MeanMetric):
    """Exact match."""

    title: ClassVar[str] = "accuracy"
    no_gold: str

    @classmethod
    def of(cls, options: ScoreConfig) -> Self:
        metric = super().of(options)
        metric.no_gold = options.no_gold or ""
        return metric

    def _compute_segment_statistics(self, hypothesis: str, ref_kwargs: dict[str, Any]) -> list[float]:
        if not hypothesis.strip() and not any(reference.strip() for reference in ref_kwargs["references"]):
            return [0.0, 0.0]
        return super()._compute_segment_statistics(hypothesis, ref_kwargs)

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        return super()._compute_score_from_stats(stats if stats[1] else [0.0, 1.0])

    def line_score(self, hypothesis: str, reference: str) -> float:
        a, b = hypothesis.strip(), reference.strip()
        return float(a.lower() == b.lower() if self.lowercase else a == b)

    def described(self) -> dict[str, str]:
        return {
            "case": "lc" if self.lowercase else "mixed",
            **({"nogold": self.no_gold} if self.no_gold else {}),
        }
