"""Memory of the process: tune the heap of the C library, and recognize out-of-memory errors.

By default, glibc maps every block of more than 128 KiB separately and unmaps it when it is freed, and
the kernel fills each new block with zeros. Activations and gradients are such blocks, thousands in each
update, which costs 5% to 10% of the training time on a CPU.

Addresses are translated in pages of 4 KiB, and a processor caches the translations of a few thousand
pages, fewer than the weights and activations of a model need. Pages of 2 MiB save 5% of the time of
updates and searches. Many kernels provide these only on request (`madvise` in
/sys/kernel/mm/transparent_hugepage/enabled).
"""

from __future__ import annotations

import ctypes
import mmap
import sys

M_TRIM_THRESHOLD = -1
"""Number of the `mallopt` parameter (malloc.h) for the number of free bytes at the end of the heap
above which they are returned to the system."""
M_TOP_PAD = -2
"""Number of the `mallopt` parameter (malloc.h) for the number of bytes by which the heap grows beyond
what is needed."""
M_MMAP_THRESHOLD = -3
"""Number of the `mallopt` parameter (malloc.h) for the size in bytes from which a block is mapped
separately."""
LARGEST_REUSED_BLOCK = 2**25
"""Blocks smaller than this number of bytes come from the heap; 32 MiB is the maximum that glibc allows
on 64-bit machines."""
NEVER = 2**31 - 1
"""The largest value of a parameter of `mallopt`."""
DEFAULT_TOP_PAD = 2**17
"""glibc's default value of M_TOP_PAD."""
LARGE_PAGES = 2**30
"""Number of bytes of the heap for which large pages are requested: nearly the largest value of
M_TOP_PAD. Beyond them, the heap has small pages."""


def tune_heap() -> None:
    """Make this process reuse memory that it frees, and request large pages for its heap.

    Its peak memory does not change, but memory is no longer returned before the process ends. Does
    nothing if the C library is not glibc.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    # musl, the C library of Alpine Linux, has no such function.
    if not hasattr(libc, "mallopt"):
        return
    libc.mallopt(M_MMAP_THRESHOLD, LARGEST_REUSED_BLOCK)
    libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    _ask_for_large_pages(libc)


def _ask_for_large_pages(libc: ctypes.CDLL) -> None:
    """Grow the heap by LARGE_PAGES bytes of addresses, and request large pages there.

    A page still takes memory only when it is first used. If the system refuses the addresses or the
    pages, the heap stays as it is. Freed memory must stay in the heap, or the heap would shrink again.
    """
    assert sys.platform == "linux"
    libc.sbrk.argtypes = [ctypes.c_ssize_t]
    libc.sbrk.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # The heap grows only for a block that does not fit into it.
    libc.mallopt(M_TOP_PAD, LARGE_PAGES)
    old_end = libc.sbrk(0)
    libc.free(libc.malloc(LARGEST_REUSED_BLOCK // 2))
    # If the next growth were as large, the system might refuse it, even for a small block.
    libc.mallopt(M_TOP_PAD, DEFAULT_TOP_PAD)
    start = old_end - old_end % mmap.PAGESIZE
    libc.madvise(start, libc.sbrk(0) - start, mmap.MADV_HUGEPAGE)


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the GPU or the machine has run out of memory."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    # PyTorch has no special exception class for running out of memory on a CPU.
    is_cpu_error = "DefaultCPUAllocator" in str(error)
    return isinstance(error, torch.OutOfMemoryError) or is_cpu_error
