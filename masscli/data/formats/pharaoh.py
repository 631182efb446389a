"""Alignments of pairs in the Pharaoh format, which fast_align, eflomal and others write.

A line belongs to a pair and has its links, such as `0-0 1-2`: the position of a source token and that of a
target token which translates it, both counted from 0. A token may have several links, or none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.text.corpus import iter_lines

Links = tuple[tuple[int, int], ...]
"""The alignment of a pair: the position of a source token and that of a target token, for each link."""

# Nine digits are more than any line has tokens.
_LINK = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


class Alignments:
    """The alignments of many pairs in memory, which are found by the number of the pair, from 0.

    `links` has an array (links, 2) for each pair: the positions of a source and of a target token.
    """

    def __init__(self, links: Sequence[NDArray[np.int64]]) -> None:
        self._starts = np.cumsum([0, *(len(row) for row in links)])
        # The positions in a line are small numbers, and there may be many lines.
        self._links = np.concatenate([np.zeros((0, 2), np.int64), *links]).astype(
            np.int32
        )

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> NDArray[np.int64]:
        """Return the links of a pair: (links, 2), the positions of a source and of a target token."""
        return self._links[self._starts[number] : self._starts[number + 1]].astype(
            np.int64
        )


def read_alignments(
    path: Path, source_lengths: NDArray[np.int32], target_lengths: NDArray[np.int32]
) -> Alignments:
    """Read the alignments of N pairs whose sides have these numbers of tokens (N,), a line for each pair.

    Raises MasscliError if the number of lines is not N, or with the line number for a link that has
    another form or is outside its pair.
    """
    pairs = len(source_lengths)
    links = []
    lines = 0
    for lines, line in enumerate(iter_lines(path), 1):
        # Lines beyond the last pair are counted for the message.
        if lines <= pairs:
            limits = (int(source_lengths[lines - 1]), int(target_lengths[lines - 1]))
            links.append(_parse(line, limits, f"{path}:{lines}"))
    if lines != pairs:
        raise MasscliError(
            f"{path}: has {count_of(lines, 'line')} for {count_of(pairs, 'pair')}",
            "it must have a line for each pair of the data folder, as `masscli align` writes it",
        )
    return Alignments(links)


def _parse(line: str, limits: tuple[int, int], place: str) -> NDArray[np.int64]:
    """Return the links of a line (links, 2); `limits` are the numbers of source and target tokens.

    Raises MasscliError, which names the `place`, for a link of another form or outside of the limits.
    """
    links = []
    for text in line.split():
        match = _LINK.fullmatch(text)
        if match is None:
            raise MasscliError(
                f"{place}: {text!r} is not an alignment link",
                "expected SOURCE-TARGET, positions counted from 0, as in 0-0 1-2",
            )
        source, target = int(match[1]), int(match[2])
        if source >= limits[0] or target >= limits[1]:
            raise MasscliError(
                f"{place}: {text} is outside a pair with {limits[0]} and {limits[1]} pieces",
                "positions are those of pieces, counted from 0, and the file belongs to one direction",
            )
        links.append((source, target))
    return np.array(links, np.int64).reshape(-1, 2)


def format_links(links: Links) -> str:
    """Return the links of a pair as a line of the Pharaoh format, such as `0-0 1-2`, without a line end."""
    return " ".join(f"{source}-{target}" for source, target in links)
