"""Sums between two reports, also where a process had no batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from masscli.core import distributed
from masscli.data.batches.batch import Batch, Tokens
from masscli.data.batches.loader import PlannedBatch, PreparedBatch
from masscli.training.metric_averager import MetricAverager


def averager(*lengths: int) -> MetricAverager:
    averager = MetricAverager(1, torch.device("cpu"))
    if lengths:
        ids = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
        batch = Batch(
            Tokens(ids, torch.tensor(lengths)), None, {}, {}, torch.zeros(len(lengths))
        )
        planned = PlannedBatch(0, 0, "one", 0, np.zeros(1, np.int64), None)  # type: ignore[arg-type]
        averager.add(torch.zeros(1), torch.zeros(1), [PreparedBatch(planned, batch)])
    return averager


def test_without_batches_there_is_no_padding() -> None:
    assert averager().padding_share() == 0.0
    assert averager(4, 2).padding_share() == 0.25


def test_padding_is_that_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    # The other process has 10 tokens, of which 4 are padding.
    monkeypatch.setattr(
        distributed, "all_reduce_sum", lambda counts: counts + torch.tensor([6.0, 10.0])
    )
    assert averager().padding_share() == pytest.approx(0.4)
    assert averager(4, 4).padding_share() == pytest.approx(4 / 18)
