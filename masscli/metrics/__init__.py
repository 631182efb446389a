"""Metrics, and how corpora are scored, resampled and compared. This package reads no files."""

from __future__ import annotations

import os
import tempfile

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


def _allow_no_temporary_folder() -> None:
    """Let sacreBLEU be imported where no temporary file can be written, as in a read-only container.

    A library that it imports for downloads asks for the folder of temporary files, and stores its name. No
    metric of masscli writes such a file.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = os.curdir


_allow_no_temporary_folder()
