"""The base class of metrics that are the mean of a score for each line.

Bootstrap resampling needs only the score of each line, not its text.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from sacrebleu.metrics.base import Score

from masscli.metrics.config import ScoreConfig
from masscli.metrics.signature import SignedMetric


class MeanMetric(SignedMetric):
    """The base class of metrics that are 100 times the mean of a score for each line.

    If a line has several references, its best score counts.
    """

    title: ClassVar[str]
    lowercase: bool

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with the settings in `options`, which are those of `masscli score`."""
        # sacreBLEU's classes take no arguments in common, so settings are attributes.
        metric = cls()
        metric.lowercase = options.lowercase
        return metric

    @abstractmethod
    def line_score(self, hypothesis: str, reference: str) -> float:
        """Return the score of a line against one reference, from 0 to 1."""

    @abstractmethod
    def signature_fields(self) -> dict[str, str]:
        """Return the settings of the metric for its signature, by key."""

    # The methods below are sacreBLEU's interface. The statistics of a line are its score and the number of
    # lines, 1.

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        """Return the references of a line, as an argument for `_compute_segment_statistics`."""
        return {"references": list(refs)}

    def _compute_segment_statistics(
        self, hypothesis: str, ref_kwargs: dict[str, Any]
    ) -> list[float]:
        """Return the best score of a line over its references, and 1.0 for the number of lines."""
        return [
            max(
                self.line_score(hypothesis, reference)
                for reference in ref_kwargs["references"]
            ),
            1.0,
        ]

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        """Return 100 times the mean score, given the sum of scores and the number of lines."""
        return Score(self.title, 100 * float(stats[0]) / float(stats[1]))

    def _aggregate_and_compute(self, stats: list[list[float]]) -> Score:
        """Return 100 times the mean score, given the statistics of each line."""
        return self._compute_score_from_stats(list(map(sum, zip(*stats, strict=True))))
