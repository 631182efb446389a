"""Processes that find each other by SLURM's variables, and one of them that does not come back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from masscli.core import distributed
from masscli.training.setup.build import build
from tests.toy import composed

SCRIPT = """
import os, signal, sys, time
from datetime import timedelta
import torch
from masscli.core import distributed
from masscli.core.errors import MasscliError

def wait_forever():
    time.sleep(60)

distributed.start(torch.device("cpu"), timedelta(seconds=4))
print("sum", float(distributed.all_reduce_sum(torch.tensor(distributed.rank + 1.0))), flush=True)
if "hang" in sys.argv and distributed.rank == 1:
    wait_forever()
if "die" in sys.argv and distributed.rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
try:
    distributed.barrier()
except MasscliError as error:
    print(error.message, flush=True)
    sys.exit(2)
distributed.stop()
"""


def two_tasks(*args: str) -> list[tuple[int, str, str]]:
    """Run the script in two processes as srun starts them; return status, output and errors of each."""
    job = str(random.SystemRandom().randrange(20_000))
    step = {
        "SLURM_JOB_ID": job,
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
    }
    results = []
    with ExitStack() as stack:
        processes = []
        for rank in ("0", "1"):
            environment = {
                **os.environ,
                **step,
                "SLURM_PROCID": rank,
                "SLURM_LOCALID": rank,
            }
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", SCRIPT, *args],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environment,
                    cwd=Path(__file__).parents[2],
                )
            )
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            # The first one ends by itself; torchrun or SLURM would end the other.
            if results and "hang" in args:
                time.sleep(1)
                process.kill()
            out, err = process.communicate(timeout=60)
            results.append((process.returncode, out, err))
    return results


def test_tasks_of_srun_join_one_group() -> None:
    for status, out, err in two_tasks():
        assert (status, out) == (0, "sum 3.0\n"), err


def test_a_process_that_does_not_respond_is_named_and_shows_its_stack() -> None:
    (status, out, err), (_, _, stack) = two_tasks("hang")
    assert (status, out) == (2, "sum 3.0\nprocess 0 has waited 4 s for process 1\n"), (
        err
    )
    assert "in wait_forever" in stack
    # Whoever waits is where all are to be, and shows nothing.
    assert "most recent call first" not in err


def test_a_killed_process_does_not_cause_tracebacks_of_the_others() -> None:
    (status, out, _), (other, _, _) = two_tasks("die")
    assert other == -signal.SIGKILL
    assert (status, out.splitlines()[-1]) == (
        2,
        "process 0 has lost its connection to another process, which has ended",
    )


def test_process_timeout_is_a_number_of_minutes(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts = []

    def start(device: torch.device, timeout: timedelta) -> None:
        timeouts.append(timeout)

    monkeypatch.setattr(distributed, "start", start)
    options = f"{toy} --objective mass --langs en --save-dir {tmp_path}"
    build(composed(*options.split(" "), "--process-timeout", "0.5"))
    assert timeouts == [timedelta(seconds=30)]
