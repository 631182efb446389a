"""Which device, and which arithmetic."""

from __future__ import annotations

import torch

from masscli.errors import MasscliError


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """`auto` is this process's GPU when there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        known = device.type in ("cpu", "cuda")
    except RuntimeError:
        known = False
    if not known:
        raise MasscliError(f"--device {name}: no such device", "cpu, cuda, cuda:0, ...")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MasscliError(f"--device {name}: this PyTorch sees no GPU", "use --device cpu, or install a CUDA build of PyTorch")
    if device.index is not None and device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise MasscliError(f"--device {name}: there are {torch.cuda.device_count()} GPUs", "count from cuda:0")
    return device


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """`auto` is bf16 where the processor multiplies it in hardware, fp32 elsewhere.

    On CPUs that is AMX (eight times as fast as fp32) or AVX-512 BF16 (twice as fast); those without either are four times slower in bf16.
    """
    if precision == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
