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


def _import_without_temporary_folder() -> None:
    """Import sacreBLEU now if no temporary file can be written, as in a read-only container.

    A library that it imports for downloads asks for the folder of temporary files, only to store its name. No
    metric of masscli writes such a file.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        # While it is imported, any folder will do; afterwards others are told again that there is none.
        tempfile.tempdir = os.curdir
        try:
            import sacrebleu  # noqa: F401
        finally:
            tempfile.tempdir = None


_import_without_temporary_folder()
