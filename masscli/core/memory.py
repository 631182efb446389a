"""What a process does with memory: how the C library treats what was freed, and how a lack of it is told.

glibc maps each block of more than 128 KiB anew and unmaps it when it is freed, and the kernel fills it with
zeros in between. Activations and gradients are such blocks, thousands in each update, so that 5% to 10% of
the time of training on a CPU would go there.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD = -1
"""Number of the parameter of `mallopt` (malloc.h): bytes at the end of the heap above which they are given
back to the system."""
M_MMAP_THRESHOLD = -3
"""Number of the parameter of `mallopt` (malloc.h): bytes from which a block is mapped alone."""
LARGEST_REUSED_BLOCK = 2**25
"""Bytes below which a block comes from the heap; 32 MiB are the most that glibc allows on 64-bit machines."""
NEVER = 2**31 - 1
"""The largest value of a parameter of `mallopt`."""


def keep_freed_memory() -> None:
    """Let this process reuse memory that it frees, in place of giving it back to the system at once.

    Its largest amount of memory stays what it was, but the amount no longer falls before the process ends.
    Does nothing where the C library is not glibc.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        # musl, the C library of Alpine Linux, has no such function.
        return
    mallopt(M_MMAP_THRESHOLD, LARGEST_REUSED_BLOCK)
    mallopt(M_TRIM_THRESHOLD, NEVER)


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the GPU or the machine has run out of memory."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    # PyTorch has no class of its own for lack of memory on a CPU.
    is_cpu_error = "DefaultCPUAllocator" in str(error)
    return isinstance(error, torch.OutOfMemoryError) or is_cpu_error
