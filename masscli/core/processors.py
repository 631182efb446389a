"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""The file in which Linux gives the CPU quota of a container: microseconds of each period, and the period."""


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    A batch system may let a process run only on some of the cores (its affinity), and a container may
    have a quota of CPU time. Both are known only on Linux.
    """
    cores = os.cpu_count() or 1
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    if quota < cores:
        cores = math.ceil(quota)
    return max(1, cores)


def cpu_quota() -> float:
    """Return the CPU time that a container's quota allows, in seconds of a core per second, such as 1.5.

    Without a quota, and where it is not known, the result is infinity.
    """
    try:
        quota, period = QUOTA.read_text(encoding="ascii").split()
        return int(quota) / int(period)
    # There is no quota, as outside a container and elsewhere than on Linux, or it is "max".
    except (OSError, ValueError):
        return math.inf
