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
        try:
            quota, period = QUOTA.read_text(encoding="ascii").split()
            cores = min(cores, math.ceil(int(quota) / int(period)))
        # There is no quota, as outside a container, or it is "max".
        except (OSError, ValueError):
            pass
    return max(1, cores)
