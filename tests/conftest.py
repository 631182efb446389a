"""What several files of tests share: a tiny data folder, made once."""

from __future__ import annotations

import os
import signal

# before torch is imported: many small tensors, and maybe many processes
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.preloaded import Preloaded
from tests.toy import make_data
from tests.toy_tasks import make_tasks

# How long an example takes says something about the load of the machine only.
settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any speed")

# nohup and jobs in the background ignore these, and the programs under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the toy language.  Read only."""
    return make_data(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy examples of every task, and `data` made of them.  Read only."""
    return make_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="session")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    """The program `masscli` without the seconds of its start."""
    server = Preloaded(tmp_path_factory.mktemp("preloaded"))
    yield server
    server.stop()


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk is not what is tested."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
