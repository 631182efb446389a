"""Sums of losses, targets and padding between two reports of a run, and the memory of the process."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from masscli.core import distributed
from masscli.data.batches.loader import PreparedBatch


class MetricAverager:
    """Sums up the results of the updates since the last report.

    These are losses and targets by (stream, term), seconds, and tokens with and without padding.
    """

    def __init__(self, terms: int, device: torch.device) -> None:
        # Sums stay on the device, so that adding to them does not synchronize with it.
        self._zeros = torch.zeros(terms, dtype=torch.float64, device=device)
        self.reset()

    def reset(self) -> None:
        """Set all sums and counts to zero."""
        self.loss_sums = self._zeros.clone()
        self.target_counts = torch.zeros(len(self._zeros), dtype=torch.float64)
        self.seconds = 0.0
        self.updates = 0
        self.real_tokens = 0
        self.padded_tokens = 0

    def add(
        self,
        loss_sums: Tensor,
        target_counts: Tensor,
        prepared: Sequence[PreparedBatch],
    ) -> None:
        """Add the results of an update, except for its seconds, which the caller adds.

        The losses (in nats, summed) and the batches are those of this process, the targets those of all
        processes.
        """
        self.loss_sums += loss_sums
        self.target_counts += target_counts
        self.updates += 1
        for batch in (item.batch for item in prepared):
            for tokens in (batch.source, batch.target):
                if tokens is not None:
                    self.real_tokens += int(tokens.lengths.sum())
                    self.padded_tokens += tokens.ids.numel()

    def padding_share(self) -> float:
        """Return the share of padding, from 0 to 1, among the tokens of all processes; 0 without tokens.

        All processes must call this together.
        """
        counts = torch.tensor(
            [self.real_tokens, self.padded_tokens], dtype=torch.float64
        )
        real, padded = distributed.all_reduce_sum(
            counts.to(self._zeros.device)
        ).tolist()
        if padded == 0:
            return 0.0
        return float(1 - real / padded)


def peak_memory(device: torch.device) -> float:
    """Return the peak memory of this process in GiB: on the GPU if `device` is one, or else in RAM."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    # ru_maxrss is in bytes on macOS and in KiB elsewhere.
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
