"""Choose the device of a process and the dtype of its matrix products."""

from __future__ import annotations

import functools
import os
import sys
import time

import torch
from torch.nn import functional as F

from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.core.processors import usable_cores

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device that `--device` names for this process.

    `cuda` is the GPU number `local_rank`; `auto` is the same if this machine has GPUs, or else the CPU.
    Raises MasscliError if there is no such device, or if several processes would share a GPU.
    """
    # Under torchrun each process gets the GPU of its number on this machine.
    has_gpu = torch.cuda.is_available()
    if name == "auto" and not has_gpu:
        _warn_of_threads()
        return torch.device("cpu")
    if name in ("auto", "cuda") and has_gpu:
        if local_rank >= torch.cuda.device_count():
            raise MasscliError(
                f"there are {torch.cuda.device_count()} GPUs here, and more processes",
                "start as many as there are GPUs (--nproc-per-node), or use --device cpu",
            )
        return torch.device("cuda", local_rank)
    device = _parse_device(name)
    if device.type == "cuda":
        _check_gpu(name, device)
    else:
        _warn_of_threads()
    return device


@functools.cache
def _warn_of_threads() -> None:
    """Print a warning, once, if PyTorch computes with more threads than this process may use cores.

    They wait for each other at every product, so that everything takes many times as long.
    """
    threads, cores = torch.get_num_threads(), usable_cores()
    if threads <= cores or distributed.local_rank > 0:
        return
    setting = f"{threads} threads"
    if os.environ.get("OMP_NUM_THREADS") == str(threads):
        setting = f"OMP_NUM_THREADS={threads}"
    print(
        f"warning: {setting} for {count_of(cores, 'core')} that this process may use makes it very slow; "
        f"set OMP_NUM_THREADS, or --threads of training, to {cores} at most",
        file=sys.stderr,
    )


def _parse_device(name: str) -> torch.device:
    """Return the device called `name`, without a check that this machine has it.

    Raises MasscliError if it is neither a CPU nor a CUDA device.
    """
    unknown = MasscliError(f"--device {name}: no such device", "cpu, cuda, cuda:0, ...")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise unknown from None
    # PyTorch supports other devices, on which masscli is not tested.
    if device.type not in ("cpu", "cuda"):
        raise unknown
    return device


def _check_gpu(name: str, device: torch.device) -> None:
    """Raise MasscliError if this machine lacks the GPU `device`, or if several processes would share it.

    `name` is the value of `--device`, for the message.
    """
    if not torch.cuda.is_available():
        raise MasscliError(
            f"--device {name}: this PyTorch sees no GPU",
            "use --device cpu, or install a CUDA build of PyTorch",
        )
    if (device.index or 0) >= torch.cuda.device_count():
        raise MasscliError(
            f"--device {name}: there are {torch.cuda.device_count()} GPUs",
            "count from cuda:0",
        )
    if distributed.world_size > 1:
        raise MasscliError(
            f"--device {name}: {distributed.world_size} processes would share it",
            "leave it out: each process takes its own GPU",
        )


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype that `--precision` names.

    `auto` is bf16 on GPUs that support it and on CPUs where it is faster than fp32, and fp32 elsewhere.
    """
    if precision != "auto":
        return DTYPES[precision]
    # GPUs before Ampere emulate bf16, slowly.
    if device.type == "cuda":
        use_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        use_bf16 = bf16_is_faster()
    return torch.bfloat16 if use_bf16 else torch.float32


@functools.cache
def bf16_is_faster() -> bool:
    """Return whether this CPU multiplies matrices faster in bf16 than in fp32, measured in about 20 ms.

    The CPU features that a processor reports are not sufficient: bf16 is 8 times as fast as fp32 with
    AMX, twice as fast with the AVX-512 BF16 of Zen 4, half as fast with that of Sapphire Rapids if a
    virtual machine hides AMX, and a quarter as fast without either. These ratios are so far from 1 that
    a rough measurement suffices.
    """
    speeds = measure_matrix_products(torch.device("cpu"))
    return speeds[torch.bfloat16] > speeds[torch.float32]


def measure_matrix_products(device: torch.device) -> dict[torch.dtype, float]:
    """Return, for fp32 and bf16, the floating-point operations per second of a small matrix product."""
    rows, width = 512, 256
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    matrices = {}
    for dtype in best:
        x = torch.ones(rows, width, dtype=dtype, device=device)
        matrices[dtype] = (x, torch.ones(rows, width, dtype=dtype, device=device))
    # Alternate, and take the shortest time of each, since other programs may be running.
    for _ in range(5):
        for dtype, (x, weight) in matrices.items():
            start = time.perf_counter()
            F.linear(x, weight)
            # Kernels of a GPU run asynchronously.
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best[dtype] = min(best[dtype], time.perf_counter() - start)
    return {
        dtype: 2.0 * rows * rows * width / seconds for dtype, seconds in best.items()
    }
