"""Training metrics that objectives measure themselves, such as how well back-translations go."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from masscli.core import distributed
from masscli.training.stream import Stream


def collect_training_metrics(
    streams: Iterable[Stream], device: torch.device
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the training metrics of all objectives since the last report, and warnings about them.

    Metrics are means over all processes, called `STREAM.METRIC`. All processes must call this together.
    """
    all_metrics: dict[str, float] = {}
    warnings: list[str] = []
    for stream in streams:
        # Every process goes through the same names, because the sum below is collective.
        names = stream.objective.training_metrics
        if not names:
            continue
        measured = stream.objective.take_training_metrics()
        sums_and_counts = torch.tensor(
            [measured[name] for name in names],
            dtype=torch.float64,
            device=device,
        )
        metrics = {}
        for name, (total, count) in zip(
            names, distributed.all_reduce_sum(sums_and_counts).tolist(), strict=True
        ):
            if count:
                metrics[name] = total / count
        for name, value in metrics.items():
            all_metrics[f"{stream.name}.{name}"] = value
        for warning in stream.objective.training_warnings(metrics):
            warnings.append(f"{stream.name}: {warning}")
    return all_metrics, tuple(warnings)
