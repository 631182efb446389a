"""Memory that was freed is used again, and the heap asks for large pages."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys
from masscli.core.memory import tune_heap

if sys.argv[1] == "keep":
    tune_heap()

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


LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage")
"""The folder of the kernel's settings of large pages; missing where it has none."""

FLAGS_OF_A_BLOCK = """
import ctypes
from masscli.core.memory import tune_heap

def resident_kib():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

before = resident_kib()
tune_heap()
print(resident_kib() - before)
size = 2**24
block = bytearray(size)
# Its first bytes may lie in the part of the heap that was there before.
middle = ctypes.addressof(ctypes.c_char.from_buffer(block)) + size // 2
with open("/proc/self/smaps") as file:
    for line in file:
        first = line.split()[0]
        if not first.endswith(":"):
            low, high = (int(address, 16) for address in first.split("-"))
        if first == "VmFlags:" and low <= middle < high:
            print(*line.split()[1:])
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not LARGE_PAGES.exists(),
    reason="needs glibc and a kernel with large pages",
)
def test_blocks_of_the_heap_ask_for_large_pages() -> None:
    """The kernel notes for the addresses of a block that large pages are wanted; asking takes no memory."""
    command = [sys.executable, "-c", FLAGS_OF_A_BLOCK]
    taken_kib, flags = subprocess.check_output(command, text=True).splitlines()
    assert "hg" in flags.split()
    assert int(taken_kib) < 2048
