"""Read merges of (byte-level) BPE from Hugging Face's merges.txt, or GPT-2's and fairseq's vocab.bpe."""

from __future__ import annotations

from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.text.corpus import read_regular_text

Merges = list[tuple[str, str]]
"""The pairs of pieces that BPE merges, in the order in which they were learned and are applied."""


def read_merges_txt(path: Path) -> Merges:
    """Return the BPE merges in a file with one pair of pieces per line.

    A first line `#version` and blank lines are skipped. Raises MasscliError for a file that cannot be
    read or a malformed line.
    """
    try:
        lines = read_regular_text(path).split("\n")
    except OSError as error:
        raise MasscliError(
            f"{path}: cannot be read ({error})", "expected the merges of BPE, in UTF-8"
        ) from None
    if lines[0].startswith("#version"):
        lines = lines[1:]
    pairs = []
    for line in lines:
        parts = line.removesuffix("\r").split(" ")
        # Blank lines do no harm.
        if parts == [""]:
            continue
        if len(parts) != 2:
            raise MasscliError(f"{path}: expected PIECE PIECE, got {line!r}")
        pairs.append((parts[0], parts[1]))
    return pairs
