"""A run says, once, that other programs use its cores."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from masscli.core import distributed
from masscli.training import core_shortage
from masscli.training.core_shortage import CoreShortage

CPU = torch.device("cpu")
Clock = Callable[[float], None]
Waits = Callable[..., None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Two threads on 16 cores, and a function that sets the time in seconds."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(core_shortage, "usable_cores", lambda: 16)
    monkeypatch.setattr(core_shortage, "cpu_quota", lambda: math.inf)

    def set_time(seconds: float) -> None:
        now[0] = seconds

    return set_time


@pytest.fixture
def waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Waits:
    """A function that sets how many seconds the threads of the process have waited, by their numbers."""
    monkeypatch.setattr(core_shortage, "THREADS_FOLDER", tmp_path)

    def write(**seconds: float) -> None:
        for thread, waited in seconds.items():
            (tmp_path / thread).mkdir(exist_ok=True)
            (tmp_path / thread / "schedstat").write_text(
                f"123456789 {waited * 1e9:.0f} 42\n"
            )

    write(t1=0, t2=0)
    return write


def test_a_run_that_lacks_cores_is_warned_once(clock: Clock, waits: Waits) -> None:
    waits(t1=100, t2=50)
    shortage = CoreShortage(CPU)
    clock(6)
    waits(t1=102, t2=52, t3=0.8)
    assert shortage.warning() == (
        "other processes use cores that this run's 2 threads need, and the threads wait for each other: "
        "stop the run, and repeat the command with --threads 1 (for 6 s, 0.8 cores were lacking)"
    )
    clock(100)
    waits(t1=150)
    assert shortage.warning() is None


def test_what_was_long_ago_does_not_count(clock: Clock, waits: Waits) -> None:
    shortage = CoreShortage(CPU)
    clock(4)
    waits(t1=4)
    assert shortage.warning() is None, "too short a time"
    clock(10)
    assert shortage.warning() is None, "0.4 cores"
    clock(20)
    waits(t1=8)
    assert shortage.warning() is None, "0.4 cores again"
    clock(30)
    waits(t1=13)
    assert shortage.warning() is not None, "0.5 cores"


@pytest.mark.parametrize(("lacking", "named"), [(0.9, 15), (1.1, 14), (15.5, 1)])
def test_as_many_threads_are_named_as_there_are_cores_left(
    lacking: float,
    named: int,
    clock: Clock,
    waits: Waits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    shortage = CoreShortage(CPU)
    clock(10)
    waits(t1=10 * lacking)
    assert f"--threads {named} (" in str(shortage.warning())


def test_other_runs_get_no_warning(
    clock: Clock, waits: Waits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {"a GPU": CoreShortage(torch.device("cuda"))}
    with monkeypatch.context() as patch:
        patch.setattr(distributed, "world_size", 2)
        runs["one of several processes"] = CoreShortage(CPU)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 1)
        runs["there cannot be fewer threads"] = CoreShortage(CPU)
    with monkeypatch.context() as patch:
        patch.setattr(core_shortage, "usable_cores", lambda: 1)
        runs["its own threads use the core, and it is said"] = CoreShortage(CPU)
    with monkeypatch.context() as patch:
        patch.setattr(core_shortage, "cpu_quota", lambda: 1.5)
        runs["its own threads use up the quota of the container"] = CoreShortage(CPU)
    warned = CoreShortage(CPU)
    clock(10)
    waits(t1=10)
    for why, shortage in runs.items():
        assert shortage.warning() is None, why
    assert warned.warning() is not None
    silent = CoreShortage(CPU)
    monkeypatch.setattr(core_shortage, "THREADS_FOLDER", tmp_path / "none")
    clock(20)
    assert silent.warning() is None, "a system that does not say it"


@pytest.fixture
def one_core() -> Iterator[None]:
    """Let this process, and those that it starts, use a single core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


@pytest.mark.skipif(
    not core_shortage._seconds_waited(), reason="this system does not say it"
)
def test_the_system_says_how_long_threads_wait(one_core: None) -> None:
    busy = "print(flush=True)\nwhile True: pass"
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        before = sum(core_shortage._seconds_waited().values())
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass
        waited = sum(core_shortage._seconds_waited().values()) - before
        other.kill()
    assert waited > 0.1
