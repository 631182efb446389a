"""The rank of this process in a distributed run, and the few collectives that training needs.

Processes are started by plain `torchrun`, which sets RANK, WORLD_SIZE, LOCAL_RANK and MASTER_*, or by SLURM's
srun (core/slurm.py). With a single process the collectives do nothing.

If a process does not call a collective that the others wait for, both sides report it. Shortly before
the timeout, the missing process prints the stack traces of its threads, and after the timeout the
others stop with an error that names it. With NCCL, whose operations do not block, PyTorch's own
watchdog ends the others.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from masscli.core.errors import MasscliError
from masscli.core.slurm import torchrun_variables

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store
    from torch.distributed.tensor import DTensor

os.environ.update(torchrun_variables(os.environ))
rank = int(os.environ.get("RANK", "0"))
world_size = int(os.environ.get("WORLD_SIZE", "1"))
local_rank = int(os.environ.get("LOCAL_RANK", "0"))

DEFAULT_TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others in a collective, unless `start` is given another timeout."""
REPORT_SECONDS = 3.0
"""Seconds that a process waits after it has recorded in the store that its collective timed out, before
it checks which others have recorded the same."""

_store: Store | None = None
_timeout = DEFAULT_TIMEOUT
_block: FailingTogether | None = None
"""The `with` block of `FailingTogether` that this process is in, if any."""


def start(device: torch.device, timeout: timedelta = DEFAULT_TIMEOUT) -> None:
    """Join the process group, with NCCL on GPUs and gloo otherwise; a single process needs no group.

    From then on a CUDA device without a number means this process's own GPU, and no process waits for
    another longer than `timeout`. A process that has already joined stays in its group. Raises
    MasscliError if WORLD_SIZE is above 1 and the variables that go with it are not set.
    """
    global _store, _timeout
    # torch is imported inside of functions, so that commands without a model do not wait for it.
    if device.type == "cuda":
        import torch

        torch.cuda.set_device(device)
    if world_size == 1:
        return
    import torch.distributed as dist

    missing = [
        name
        for name in ("RANK", "MASTER_ADDR", "MASTER_PORT")
        if name not in os.environ
    ]
    if missing:
        raise MasscliError(
            f"WORLD_SIZE is {world_size}, but {', '.join(missing)} are not set",
            "start with torchrun, or unset WORLD_SIZE",
        )
    # The group is joined only once, even if the process trains several runs.
    if dist.is_initialized():
        return
    backend = "gloo"
    own_gpu = None
    if device.type == "cuda":
        backend = "nccl"
        own_gpu = device
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    _timeout = timeout
    _store, _, _ = next(rendezvous("env://", timeout=timeout))
    if _shares_store_of_torchrun():
        # torchrun keeps its store when it restarts dead processes, and with it their old
        # addresses (PyTorch issue 135712), so each start uses its own part of the store. On
        # several machines the number of starts may differ between machines; there
        # TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 helps.
        _store = PrefixStore(
            f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", _store
        )
    dist.init_process_group(
        backend,
        store=_store,
        rank=rank,
        world_size=world_size,
        timeout=timeout,
        device_id=own_gpu,
    )


def work_alone() -> None:
    """Continue as a single process: `rank` and `local_rank` become 0, and `world_size` 1.

    RANK, WORLD_SIZE and LOCAL_RANK are also removed from the environment, so that programs started by
    this process are single processes, too.
    """
    global rank, world_size, local_rank
    rank, world_size, local_rank = 0, 1, 0
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        os.environ.pop(name, None)


def _shares_store_of_torchrun() -> bool:
    """Return whether the processes use torchrun's own store, and all run on this machine."""
    uses_store = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return uses_store and os.environ.get("LOCAL_WORLD_SIZE") == str(world_size)


def stop() -> None:
    """Leave the process group, so that the process ends without a warning from PyTorch.

    Without a group this does nothing.
    """
    if world_size > 1:
        import torch.distributed as dist

        faulthandler.cancel_dump_traceback_later()
        if dist.is_initialized():
            dist.destroy_process_group()


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place, and return it. All processes must call this together."""
    if world_size > 1:
        import torch.distributed as dist

        _ask_others()
        with _waiting():
            dist.all_reduce(tensor)
    return tensor


def broadcast(tensor: Tensor) -> Tensor:
    """Overwrite a tensor on every process, in place, with the tensor of rank 0, and return it.

    All processes must call this together.
    """
    if world_size > 1:
        import torch.distributed as dist

        _ask_others()
        with _waiting():
            dist.broadcast(tensor, 0)
    return tensor


def barrier() -> None:
    """Wait until all processes have called this function."""
    if world_size > 1:
        import torch.distributed as dist

        _ask_others()
        with _waiting():
            dist.barrier()


class OtherProcessError(MasscliError):
    """Another process has an error that is no mistake of the user; that process shows its traceback."""


class _Failure(NamedTuple):
    """What a process that has failed tells the others about its error."""

    message: str
    hint: str | None
    is_mistake: bool


class FailingTogether:
    """A `with` block that all processes leave with an error if one of them does.

    Before each collective of this module in the block, and at its end, the processes ask one another whether
    one has failed. Those that have not then raise a MasscliError with the message of the first one that has.
    All processes must enter the block together. The small tensors that they exchange are on `device`.
    """

    def __init__(self, device: torch.device) -> None:
        self.failed = False
        """Whether an error has ended the block in all processes, so that they are at the same place."""
        self.is_broken = False
        """Whether a collective has failed, so that no other one can succeed."""
        self._device = device

    def __enter__(self) -> None:
        global _block
        _block = self

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: object
    ) -> None:
        global _block
        try:
            if error is None:
                self.ask()
            # The others know of the error, or cannot be told.
            elif isinstance(error, Exception) and not self.failed:
                self._exchange(error)
        finally:
            _block = None

    def ask(self) -> None:
        """Raise MasscliError if another process has failed. All that have not call this together."""
        failure = self._exchange(None)
        if failure is not None:
            raise failure

    def _exchange(self, error: Exception | None) -> MasscliError | None:
        """Tell the other processes whether this one has failed, and return an error about the first that has.

        The result is None if none has. `error` is that of this process, if any. All processes must call this
        together.
        """
        if self.is_broken:
            return None
        if world_size == 1:
            self.failed = error is not None
            return None
        import torch
        import torch.distributed as dist

        failures = torch.tensor(float(error is not None), device=self._device)
        with _waiting():
            dist.all_reduce(failures)
        if not float(failures):
            return None
        self.failed = True
        told: list[_Failure | None] = [None] * world_size
        with _waiting():
            dist.all_gather_object(told, _failure_of(error))
        first = next(number for number, failure in enumerate(told) if failure)
        return _error_about(first, told[first])


def _failure_of(error: Exception | None) -> _Failure | None:
    """Return what the other processes are told of an error."""
    if error is None:
        return None
    if isinstance(error, MasscliError):
        return _Failure(error.message, error.hint, is_mistake=True)
    return _Failure(f"{type(error).__name__}: {error}", None, is_mistake=False)


def _error_about(number: int, failure: _Failure | None) -> MasscliError:
    """Return the error that tells of the failure of the process `number`."""
    assert failure is not None
    kind = MasscliError if failure.is_mistake else OtherProcessError
    return kind(f"process {number}: {failure.message}", failure.hint)


def _ask_others() -> None:
    """In a block of `FailingTogether`, raise MasscliError if another process has failed."""
    if _block is not None:
        _block.ask()


@contextmanager
def _waiting() -> Iterator[None]:
    """Run one collective in the `with` block, and set a timer that reports if the next one is late.

    The timer prints the stack traces of this process's threads once the process has been outside
    collectives for 90% of the timeout. If the collective itself times out, MasscliError is raised,
    which names the missing ranks.
    """
    faulthandler.cancel_dump_traceback_later()
    try:
        yield
    except RuntimeError as error:
        if _block is not None:
            _block.is_broken = True
        # PyTorch has no special exception class for this error of gloo.
        if "imed out" not in str(error):
            _raise_if_lost(error)
            raise
        missing = _missing_processes()
        who = "the connection"
        if missing:
            who = f"process {', '.join(map(str, missing))}"
        raise MasscliError(
            f"process {rank} has waited {_timeout.total_seconds():.0f} s for {who}",
            "see the stack that the other one has printed; the same command continues the run",
        ) from None
    # A little earlier than the others give up, since that may end this process, too.
    seconds = 0.9 * _timeout.total_seconds()
    faulthandler.dump_traceback_later(seconds)


@contextmanager
def naming_lost_process() -> Iterator[None]:
    """Run collectives in the `with` block; raise MasscliError if another process has ended meanwhile."""
    try:
        yield
    except RuntimeError as error:
        _raise_if_lost(error)
        raise


def _raise_if_lost(error: RuntimeError) -> None:
    """Raise MasscliError if an error of a collective means that another process has ended."""
    # gloo says this of a connection that was closed, reset or refused.
    if "onnection" in str(error):
        raise MasscliError(
            f"process {rank} has lost its connection to another process, which has ended",
            "see why that one ended, then give the same command again",
        ) from None


def _missing_processes() -> list[int]:
    """Return the ranks that have not recorded within REPORT_SECONDS that they timed out, too."""
    assert _store is not None
    _store.set(f"waited-in-vain-{rank}", "1")
    # The others started to wait at other times.
    time.sleep(REPORT_SECONDS)
    return [
        other
        for other in range(world_size)
        if not _store.check([f"waited-in-vain-{other}"])
    ]


def is_sharded(tensor: Tensor) -> TypeGuard[DTensor]:
    """Return whether FSDP2 has divided a tensor among the processes."""
    # Only a run that shards its model imports the module, since that takes half a second.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)
