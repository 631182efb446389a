"""Metrics that are the mean of a score for each line.

Resampling needs only the sum of these scores and the number of lines.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from sacrebleu.metrics.base import Score

from masscli.metrics.config import ScoreConfig
from masscli.metrics.signature import SignedMetric


class MeanMetric(SignedMetric):
    """The base class of means over lines, times 100. With several references the best one counts."""

    title: ClassVar[str]
    lowercase: bool

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with the settings of `options`."""
        # sacreBLEU's classes take no arguments in common, so settings are attributes.
        metric = cls()
        metric.lowercase = options.lowercase
        return metric

    @abstractmethod
    def line_score(self, hypothesis: str, reference: str) -> float:
        """Return the score of a line, between 0 and 1."""

    @abstractmethod
    def signature_fields(self) -> dict[str, str]:
        """Return the signature fields that describe the settings of the metric."""

    # The methods below are sacreBLEU's interface. The statistics of a line are its score and the number of
    # lines, 1.

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        return {"references": list(refs)}

    def _compute_segment_statistics(self, hypothesis: str, ref_kwargs: dict[str, Any]) -> list[float]:
        return [max(self.line_score(hypothesis, reference) for reference in ref_kwargs["references"]), 1.0]

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        return Score(self.title, 100 * float(stats[0]) / float(stats[1]))

    def _aggregate_and_compute(self, stats: list[list[float]]) -> Score:
        return self._compute_score_from_stats(list(map(sum, zip(*stats, strict=True))))
