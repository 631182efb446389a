"""What a process does with memory: how the C library and the kernel manage the heap, and how a lack is told.

glibc maps each block of more than 128 KiB anew and unmaps it when it is freed, and the kernel fills it with
zeros in between. Activations and gradients are such blocks, thousands in each update, so that 5% to 10% of
the time of training on a CPU would go there.

Addresses are translated in pages of 4 KiB, and a processor knows the places of some thousand pages at a
time, less than the weights and activations of a model take. Pages of 2 MiB save 5% of the time of updates
and searches. Many kernels give these only to who asks for them (`madvise` in
/sys/kernel/mm/transparent_hugepage/enabled).
"""

from __future__ import annotations

import ctypes
import mmap
import sys

M_TRIM_THRESHOLD = -1
"""Number of the parameter of `mallopt` (malloc.h): bytes at the end of the heap above which they are given
back to the system."""
M_TOP_PAD = -2
"""Number of the parameter of `mallopt` (malloc.h): bytes by which the heap grows beyond what is needed."""
M_MMAP_THRESHOLD = -3
"""Number of the parameter of `mallopt` (malloc.h): bytes from which a block is mapped alone."""
LARGEST_REUSED_BLOCK = 2**25
"""Bytes below which a block comes from the heap; 32 MiB are the most that glibc allows on 64-bit machines."""
NEVER = 2**31 - 1
"""The largest value of a parameter of `mallopt`."""
DEFAULT_TOP_PAD = 2**17
"""The value of M_TOP_PAD that glibc begins with."""
LARGE_PAGES = 2**30
"""For how many bytes of the heap large pages are asked for: nearly the most that M_TOP_PAD can say. What the
heap needs beyond them comes in small pages."""


def tune_heap() -> None:
    """Let this process reuse memory that it frees, and ask for large pages for its heap.

    Its largest amount of memory stays what it was, but the amount no longer falls before the process ends.
    Does nothing where the C library is not glibc.
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
    """Let the heap grow by LARGE_PAGES bytes of addresses, and ask for large pages there.

    Memory comes with the first use of a page, as before. If the system refuses the addresses or the pages,
    the heap stays as it is. What was freed must stay in the heap, or it would shrink again.
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
    # A heap that grew by as much again might be refused, and with it a small block.
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
    # PyTorch has no class of its own for lack of memory on a CPU.
    is_cpu_error = "DefaultCPUAllocator" in str(error)
    return isinstance(error, torch.OutOfMemoryError) or is_cpu_error
