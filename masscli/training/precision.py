"""Choose the device and the precision of a run."""

from __future__ import annotations

import functools
import time

import torch
from torch.nn import functional as F

from masscli.core import distributed
from masscli.core.errors import MasscliError


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device called `name`.

    `auto` is the GPU of this process if there is one, else the CPU; `cuda` is the GPU of this process. Raises
    MasscliError if there is no such device, or if several processes would share it.
    """
    if name == "auto" and not torch.cuda.is_available():
        return torch.device("cpu")
    if name in ("auto", "cuda") and torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise MasscliError(f"there are {torch.cuda.device_count()} GPUs here, and more processes",
                               "start as many as there are GPUs (--nproc-per-node), or use --device cpu")  # fmt: skip
        return torch.device("cuda", local_rank)
    try:
        device = torch.device(name)
        known = device.type in ("cpu", "cuda")
    except RuntimeError:
        known = False
    if not known:
        raise MasscliError(f"--device {name}: no such device", "cpu, cuda, cuda:0, ...")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MasscliError(
            f"--device {name}: this PyTorch sees no GPU",
            "use --device cpu, or install a CUDA build of PyTorch",
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MasscliError(
            f"--device {name}: there are {torch.cuda.device_count()} GPUs", "count from cuda:0"
        )
    if device.type == "cuda" and distributed.world_size > 1:
        raise MasscliError(
            f"--device {name}: {distributed.world_size} processes would share it",
            "leave it out: each takes a GPU of its own",
        )
    return device


DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype of --precision; `auto` is bf16 where it is supported and fast, else fp32."""
    if precision != "auto":
        return DTYPES[precision]
    fast = (
        torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else bf16_is_faster()
    )
    return torch.bfloat16 if fast else torch.float32


@functools.cache
def bf16_is_faster() -> bool:
    """Return whether this CPU multiplies matrices faster in bf16 than in fp32, measured in some 20 ms.

    The name of a processor does not tell: bf16 is 8 times as fast with AMX, twice with the AVX-512 BF16 of
    Zen 4, half as fast with that of Sapphire Rapids if a virtual machine hides AMX, and a quarter as fast
    without either. All of these are far from 1.
    """
    pairs = [
        (torch.ones(512, 256, dtype=dtype), torch.ones(512, 256, dtype=dtype))
        for dtype in (torch.float32, torch.bfloat16)
    ]
    best = [float("inf")] * 2
    for _ in range(5):  # in turns, the shortest of each: others may be at work beside us
        for i, (x, weight) in enumerate(pairs):
            start = time.perf_counter()
            F.linear(x, weight)
            best[i] = min(best[i], time.perf_counter() - start)
    return best[1] < best[0]
