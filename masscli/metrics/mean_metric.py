"""What metrics share that are the mean of a number per line: its sum and the number of lines are all that resampling needs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from sacrebleu.metrics.base import Score

from masscli.metrics.config import ScoreConfig
from masscli.metrics.signature import SignedMetric


class MeanMetric(SignedMetric):
    """100 times the mean over lines of `line_score`; with several references, that of the best."""

    title: ClassVar[str]
    lowercase: bool

    @classmethod
    def of(cls, options: ScoreConfig) -> Self:
        metric = cls()
        metric.lowercase = options.lowercase
        return metric

    @abstractmethod
    def line_score(self, hypothesis: str, reference: str) -> float:
        """Between 0 and 1."""

    @abstractmethod
    def described(self) -> dict[str, str]:
        """The metric's own part of the signature."""

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        return {"references": list(refs)}

    def _compute_segment_statistics(self, hypothesis: str, ref_kwargs: dict[str, Any]) -> list[float]:
        return [max(self.line_score(hypothesis, reference) for reference in ref_kwargs["references"]), 1.0]

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        return Score(self.title, 100 * float(stats[0]) / float(stats[1]))

    def _aggregate_and_compute(self, stats: list[list[float]]) -> Score:
        return self._compute_score_from_stats([sum(column) for column in zip(*stats, strict=True)])
