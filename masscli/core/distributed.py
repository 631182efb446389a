"""The number of this process among all, and the few collectives that training needs.

Processes are started by plain `torchrun`, which sets RANK, WORLD_SIZE, LOCAL_RANK and MASTER_*; variables of
SLURM are not read. With a single process every function here does nothing.
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
    """Join the process group, with NCCL on GPUs and gloo otherwise.

    From then on a device without a number means this process's own GPU. Raises MasscliError if WORLD_SIZE is
    set without the variables that go with it.
    """
    # torch is imported inside of functions, so that commands without a model do not wait for it.
    if device.type == "cuda":
        import torch

        torch.cuda.set_device(device)
    # A single process needs no group.
    if world_size == 1:
        return
    import torch.distributed as dist

    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise MasscliError(
            f"WORLD_SIZE is {world_size}, but {', '.join(missing)} are not set",
            "start with torchrun, or unset WORLD_SIZE",
        )
    # The group is joined once, however many runs the process trains.
    if dist.is_initialized():
        return
    backend = "gloo"
    own_gpu = None
    if device.type == "cuda":
        backend = "nccl"
        own_gpu = device
    if not _shares_store_of_torchrun():
        dist.init_process_group(backend, device_id=own_gpu)
        return

    # torchrun keeps its store when it starts dead processes again, with addresses of the dead in it (PyTorch
    # issue 135712), so each start gets a part of the store for itself. On several machines the number of
    # starts is not the same on all; there TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 helps.
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    agent_store, _, _ = next(rendezvous("env://"))
    store = PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", agent_store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, device_id=own_gpu)


def work_alone() -> None:
    """Go on as the only process, which does not know of the others; nor do programs that it starts."""
    global rank, world_size, local_rank
    rank, world_size, local_rank = 0, 1, 0
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        os.environ.pop(name, None)


def _shares_store_of_torchrun() -> bool:
    """Return whether torchrun's own store is used and all processes run on this machine."""
    uses_store = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return uses_store and os.environ.get("LOCAL_WORLD_SIZE") == str(world_size)


def stop() -> None:
    """Leave the process group, so that the process ends without a warning."""
    if world_size > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place, and return it."""
    if world_size > 1:
        import torch.distributed as dist

        dist.all_reduce(tensor)
    return tensor


def broadcast(tensor: Tensor) -> Tensor:
    """Replace a tensor on every process by that of rank 0, in place, and return it."""
    if world_size > 1:
        import torch.distributed as dist

        dist.broadcast(tensor, 0)
    return tensor


def barrier() -> None:
    """Wait until all processes have called this function."""
    if world_size > 1:
        import torch.distributed as dist

        dist.barrier()
