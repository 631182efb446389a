"""Helpers for collators: fields and numbers of examples, and positions of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masscli.data.batches.batch import Ids
from masscli.data.batches.dataset import Example


def example_fields(examples: Sequence[Example], index: int) -> list[NDArray[Any]]:
    """Return field number `index` of each example, such as the token ids of its source."""
    return [example.fields[index] for example in examples]


def example_numbers(examples: Sequence[Example]) -> list[int]:
    """Return the number of each example in its dataset."""
    return [example.number for example in examples]


def flatten_positions(positions: Sequence[Ids], width: int) -> Tensor:
    """Return positions within rows as indices (N,) into the flattened block of B rows of `width` tokens.

    `positions` has an array for each row; the result keeps their order, row by row.
    """
    # Row r of the flattened block begins at r * width.
    flat = [row * width + row_positions for row, row_positions in enumerate(positions)]
    return torch.from_numpy(np.concatenate(flat))


def non_padding_positions(lengths: Tensor, width: int) -> Tensor:
    """Return the indices (N,) of all tokens but padding in a flattened (B, width) block, row by row.

    `lengths` (B,) are the numbers of tokens of the rows.
    """
    is_token = torch.arange(width) < lengths[:, None]
    return torch.nonzero(is_token.flatten())[:, 0]
