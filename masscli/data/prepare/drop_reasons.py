"""The reasons for which training lines are dropped, and the rules about their lengths."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from masscli.data.prepare.config import PreprocessConfig

Reasons = NDArray[np.int8]
"""(N,) a `DropReason` for each of N lines."""


class DropReason(IntEnum):
    """The reason for dropping a training line; KEPT means that there is none."""

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
"""The option that decides whether lines are dropped for a reason, by the label of the reason. Empty lines are
always dropped, and have none."""


def length_reasons(lengths: NDArray[np.int32], config: PreprocessConfig) -> Reasons:
    """Return (N,) the rule about its length that each line violates (empty, too short, too long), or KEPT.

    `lengths` (N,) are the numbers of pieces of the lines.
    """
    reasons = np.full(len(lengths), DropReason.KEPT, np.int8)
    # Later rules replace earlier ones: an empty line is not called too short.
    reasons[lengths > config.max_len] = DropReason.TOO_LONG
    reasons[lengths < config.min_len] = DropReason.TOO_SHORT
    reasons[lengths == 0] = DropReason.EMPTY
    return reasons


def unit_reasons(
    lengths: Sequence[NDArray[np.int32]],
    side_reasons: Sequence[Reasons],
    config: PreprocessConfig,
) -> Reasons:
    """Return (N,) for each line, or pair of lines, the first rule about lengths that it violates, or KEPT.

    `lengths` has an array (N,) of numbers of pieces for each side: two sides for a pair, one for monolingual
    text. `side_reasons` is the result of `length_reasons` for each side. In a pair, the rules for the first
    side come before those for the second one, and the ratio of lengths comes last.
    """
    reasons = side_reasons[0].copy()
    if len(lengths) == 1:
        return reasons
    # A line that is bad on its own is a better explanation than a ratio, so it is judged first.
    first, second = lengths
    mark(reasons, side_reasons[1] != DropReason.KEPT, side_reasons[1])
    if config.max_ratio:
        is_uneven = np.maximum(first, second) > config.max_ratio * np.minimum(
            first, second
        )
        mark(reasons, is_uneven, DropReason.RATIO)
    return reasons


def mark(
    reasons: Reasons, rows: NDArray[np.bool_], reason: Reasons | DropReason
) -> None:
    """Set `reason` for the selected lines, in place; a line that has a reason already keeps it.

    `rows` (N,) selects lines. `reason` is one reason for all of them, or an array (N,) with one for each
    line.
    """
    # A row keeps its first reason.
    rows = rows & (reasons == DropReason.KEPT)
    np.copyto(reasons, reason, where=rows, casting="unsafe")
