"""Why a training line is dropped: rules of length, and the order in which reasons apply."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from masscli.data.prepare.config import PreprocessConfig

Reasons = NDArray[np.int8]
"""A `DropReason` for each row."""


class DropReason(IntEnum):
    """The reason for dropping a training line; KEPT if there is none."""

    KEPT = 0
    EMPTY = 1
    TOO_LONG = 2
    TOO_SHORT = 3
    RATIO = 4
    COPY = 5
    REPEATED = 6
    OTHER_LANGUAGE = 7
    HELD_OUT = 8

    @property
    def label(self) -> str:
        """The name of the reason in reports and in the log of dropped lines."""
        if self is DropReason.HELD_OUT:
            return "in valid or test"
        return self.name.lower().replace("_", " ")


OPTION_OF_REASON = {
    DropReason.TOO_LONG.label: "--max-len",
    DropReason.TOO_SHORT.label: "--min-len",
    DropReason.RATIO.label: "--max-ratio",
    DropReason.COPY.label: "--drop-copies",
    DropReason.REPEATED.label: "--dedup",
    DropReason.OTHER_LANGUAGE.label: "--filter-lang",
    DropReason.HELD_OUT.label: "--drop-held-out",
}
"""The option that decides whether lines are dropped for a reason; empty lines are dropped in any case."""


def length_reasons(lengths: NDArray[np.int32], config: PreprocessConfig) -> Reasons:
    """Return for each line the length rule that it violates (empty, too short, too long), or KEPT."""
    reasons = np.full(len(lengths), DropReason.KEPT, np.int8)
    # Later rules replace earlier ones: an empty line is not called too short.
    reasons[lengths > config.max_len] = DropReason.TOO_LONG
    reasons[lengths < config.min_len] = DropReason.TOO_SHORT
    reasons[lengths == 0] = DropReason.EMPTY
    return reasons


def unit_reasons(
    lengths: Sequence[NDArray[np.int32]], side_reasons: Sequence[Reasons], config: PreprocessConfig
) -> Reasons:
    """Return for each line, or pair of lines, the first length rule that it violates, or KEPT.

    `lengths` are the numbers of pieces of each side: two for a pair, one for monolingual text. `side_reasons`
    is the result of `length_reasons` for each side.
    """
    reasons = side_reasons[0].copy()
    if len(lengths) == 1:
        return reasons
    # A line that is bad by itself explains more than a ratio, and so is judged first.
    first, second = lengths
    mark(reasons, side_reasons[1] != DropReason.KEPT, side_reasons[1])
    if config.max_ratio:
        is_uneven = np.maximum(first, second) > config.max_ratio * np.minimum(first, second)
        mark(reasons, is_uneven, DropReason.RATIO)
    return reasons


def mark(reasons: Reasons, rows: NDArray[np.bool_], reason: Reasons | DropReason) -> None:
    """Set a reason for the selected lines, in place; a line that has a reason already keeps it."""
    # The first reason against a row stays.
    rows = rows & (reasons == DropReason.KEPT)
    np.copyto(reasons, reason, where=rows, casting="unsafe")
