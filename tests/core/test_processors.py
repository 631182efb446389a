"""How many cores a process may use, and what is said of more threads than that."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from masscli.core.processors import cpu_quota, usable_cores
from masscli.training import precision


@pytest.mark.parametrize(
    ("quota", "seconds", "expected"),
    [
        ("150000 100000", 1.5, 2),
        ("50000 100000", 0.5, 1),
        ("max 100000", math.inf, 64),
        ("900000 10000", 90, 64),
        (None, math.inf, 64),
    ],
)
def test_a_quota_and_an_affinity_limit_the_cores(
    quota: str | None,
    seconds: float,
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr("masscli.core.processors.QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(
        os, "sched_getaffinity", lambda process: set(range(64)), raising=False
    )
    assert (cpu_quota(), usable_cores()) == (seconds, expected)


def test_more_threads_than_cores_cause_one_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision, "usable_cores", lambda: 2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    precision._warn_of_threads.cache_clear()
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    precision.choose_device("auto")
    assert capsys.readouterr().err == ""
    for setting, named in (("8", "OMP_NUM_THREADS=8"), ("1", "8 threads")):
        precision._warn_of_threads.cache_clear()
        monkeypatch.setenv("OMP_NUM_THREADS", setting)
        monkeypatch.setattr("torch.get_num_threads", lambda: 8)
        precision.choose_device("auto")
        precision.choose_device("cpu")
        assert capsys.readouterr().err == (
            f"warning: {named} for 2 cores that this process may use makes it very slow; "
            "set OMP_NUM_THREADS, or --threads of training, to 2 at most\n"
        )
    precision._warn_of_threads.cache_clear()
