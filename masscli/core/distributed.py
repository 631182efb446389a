"""Rank, world and the few collectives the loop needs: honest no-ops when there is one process.

Started by plain `torchrun`, which sets RANK, WORLD_SIZE, LOCAL_RANK and MASTER_*; SLURM's variables are not
read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from masscli.core.errors import MasscliError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

rank = int(os.environ.get("RANK", "0"))
world_size = int(os.environ.get("WORLD_SIZE", "1"))
local_rank = int(os.environ.get("LOCAL_RANK", "0"))


def start(device: torch.device) -> None:
    """Join the other processes (NCCL on GPUs, gloo otherwise); what does not name a GPU means this process's own from now on."""
    if device.type == "cuda":
        import torch

        torch.cuda.set_device(device)
    if world_size > 1:
        import torch.distributed as dist
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
            raise MasscliError(
                f"WORLD_SIZE is {world_size}, but {', '.join(missing)} are not set",
                "start with torchrun, or unset WORLD_SIZE",
            )
        if not dist.is_initialized():
            backend, own = ("nccl", device) if device.type == "cuda" else ("gloo", None)
            if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and os.environ.get(
                "LOCAL_WORLD_SIZE"
            ) == str(world_size):
                # torchrun keeps its store when it starts dead processes again, with addresses of the dead in
                # it (PyTorch issue 135712). On several machines the number of starts is not the same on all;
                # there TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 helps.
                agent, _, _ = next(rendezvous("env://"))
                store = PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", agent)
                dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, device_id=own)
            else:
                dist.init_process_group(backend, device_id=own)


def stop() -> None:
    """Leave, so that the process ends without a warning."""
    if world_size > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Add `tensor` over all processes, in place."""
    if world_size > 1:
        import torch.distributed as dist

        dist.all_reduce(tensor)
    return tensor


def broadcast(tensor: Tensor) -> Tensor:
    """Give everyone rank 0's tensor, in place."""
    if world_size > 1:
        import torch.distributed as dist

        dist.broadcast(tensor, 0)
    return tensor


def barrier() -> None:
    """Wait for everyone."""
    if world_size > 1:
        import torch.distributed as dist

        dist.barrier()
