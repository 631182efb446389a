"""Memory that was freed is used again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from masscli.core.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def use(size):
    block = bytearray(size)
    for page in range(0, size, 4096):
        block[page] = 1

use(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    # Two sizes in turns, since glibc learns to keep a block of one size by itself.
    use(2**23)
    use(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone is told")
def test_freed_memory_is_used_again() -> None:
    """Count the pages that the kernel gives out while blocks of 8 and 16 MiB come and go."""
    faults = {}
    for how in ("keep", "give back"):
        command = [sys.executable, "-c", PROGRAM, how]
        faults[how] = int(subprocess.check_output(command))
    assert faults["keep"] < 3 * 2**24 / 4096
    assert faults["keep"] < faults["give back"] / 3
