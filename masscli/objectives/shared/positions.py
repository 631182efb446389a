"""Positions of labels in the flattened (B * L) states of a padded batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from masscli.data.batches.batch import Ids


def flatten_positions(positions: Sequence[Ids], width: int) -> Tensor:
    """Turn the positions within each row of a (B, width) block into positions of the flattened block."""
    flat = [row * width + row_positions for row, row_positions in enumerate(positions)]
    return torch.from_numpy(np.concatenate(flat))


def non_padding_positions(lengths: Tensor, width: int) -> Tensor:
    """Return all positions of a flattened (B, width) block that are not padding, row by row."""
    is_token = torch.arange(width) < lengths[:, None]
    return torch.nonzero(is_token.flatten())[:, 0]
