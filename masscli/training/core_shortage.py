"""Notice that other processes use the cores on which a run computes.

PyTorch's threads share each operation and wait for the last of them. Beside a busy program there is always
one that has no core, so that two threads are slower than one (docs/results/speed.md#beside-other-programs).
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch

from masscli.core import distributed
from masscli.core.processors import cpu_quota, usable_cores

THREADS_FOLDER = Path("/proc/self/task")
"""The folder in which Linux has a folder for each thread of this process, by its number. The file `schedstat`
in it says how long the thread has run, and how long it was ready to run but had no core, in nanoseconds."""
PERIOD = 5.0
"""Seconds over which the shortage is measured; a program that runs only for a moment must not count."""
MIN_SHORTAGE = 0.5
"""Mean number of lacking cores from which on a run is warned. On two cores, one thread is then as fast as
two."""


class CoreShortage:
    """Measures how many cores the threads of this process lack, and returns one warning at most.

    Nothing is measured on a GPU, with one thread, in a run of several processes, with more threads than cores
    (precision.py warns of those) or than the quota of the container allows, or where the system does not say
    how long threads wait (anywhere but on Linux).
    """

    def __init__(self, device: torch.device) -> None:
        threads = torch.get_num_threads()
        is_alone = distributed.world_size == 1
        # With more threads, they wait for each other's cores even if no other process uses any.
        most = min(usable_cores(), cpu_quota())
        self._measures = device.type == "cpu" and is_alone and 1 < threads <= most
        self._began = time.monotonic()
        self._waited = _seconds_waited()

    def warning(self) -> str | None:
        """Return a warning if cores were lacking since the last measurement, and None otherwise.

        A measurement is made at the first call after PERIOD seconds, and no more after the warning.
        """
        seconds = time.monotonic() - self._began
        if not self._measures or seconds < PERIOD:
            return None
        before, self._waited = self._waited, _seconds_waited()
        self._began += seconds
        lacking = 0.0
        for thread, waited in self._waited.items():
            lacking += (waited - before.get(thread, 0.0)) / seconds
        if lacking < MIN_SHORTAGE:
            return None
        self._measures = False
        threads = torch.get_num_threads()
        fewer = max(1, threads - math.ceil(lacking))
        return (
            f"other processes use cores that this run's {threads} threads need, and the threads wait for "
            f"each other: stop the run, and repeat the command with --threads {fewer} (for {seconds:.0f} s, "
            f"{lacking:.1f} cores were lacking)"
        )


def _seconds_waited() -> dict[str, float]:
    """Return how long each thread of this process was ready to run but had no core, in seconds.

    The keys are the numbers of the threads. The result is empty where the system does not say it.
    """
    waited = {}
    for file in THREADS_FOLDER.glob("*/schedstat"):
        try:
            _, nanoseconds, _ = file.read_text(encoding="ascii").split()
        # The thread has ended in the meantime.
        except OSError:
            continue
        waited[file.parent.name] = int(nanoseconds) / 1e9
    return waited
