"""What is summed up between two reports of a run."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from masscli.data.batches.loader import PreparedBatch


class Watch:
    """Losses and targets by (stream, term), seconds, and how much of what was read is padding, since the last report."""

    def __init__(self, keys: int, device: torch.device) -> None:
        self._zero = torch.zeros(keys, dtype=torch.float64, device=device)
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.sums, self.totals = self._zero.clone(), torch.zeros(len(self._zero), dtype=torch.float64)
        self.seconds, self.updates, self.real, self.area = 0.0, 0, 0, 0

    def add(self, sums: Tensor, totals: Tensor, prepared: Sequence[PreparedBatch]) -> None:
        """An update was made: this process's losses, everyone's targets, this process's batches."""
        self.sums += sums
        self.totals += totals
        self.updates += 1
        for batch in (p.batch for p in prepared):
            for side in (batch.source, batch.target):
                if side is not None:
                    self.real += int(side.lengths.sum())
                    self.area += side.ids.numel()


def peak_memory(device: torch.device) -> float:
    """Of this process in GiB, or of its GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had no room left."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
