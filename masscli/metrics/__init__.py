"""Metrics, and how corpora are scored, resampled and compared. This package reads no files."""

from __future__ import annotations

from masscli.metrics.scoring import (
    METRIC_FAMILIES,
    METRICS,
    MetricClass,
    Score,
    bleu,
    build_metrics,
    compare,
    rouge_scores,
    score,
    score_lines,
)

__all__ = [
    "METRICS",
    "METRIC_FAMILIES",
    "MetricClass",
    "Score",
    "bleu",
    "build_metrics",
    "compare",
    "rouge_scores",
    "score",
    "score_lines",
]
