"""Read GPT's vocabulary (Radford et al. 2018): the ids of pieces in vocab.json, the merges in merges.txt.

It is the BPE of characters of masscli.text.bpe_codes, but marks the end of a word, not its continuation:
`the</w>` and `th` are `the` and `th@@` here. GPT-2 and RoBERTa have byte-level vocabularies in files of
the same names, which mark the beginning of a word and are not read.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from masscli.checkpoint.convert.folder import read_json
from masscli.checkpoint.convert.tensors import NEW_ROW
from masscli.core.errors import MasscliError
from masscli.text.bpe_codes import UNKNOWN_ID, WORD_END, XLM_SPECIAL_PIECES, pack_bpe_codes
from masscli.text.corpus import decode_text
from masscli.text.markers import BPE_CONTINUATION

VOCAB = "vocab.json"
MERGES = "merges.txt"


class GptVocabulary(NamedTuple):
    """The BPE model in our format, the row of GPT's embeddings for each id, and the pieces left out."""

    model: bytes
    rows: list[int]
    left_out: list[str]


def is_gpt_bpe(folder: Path) -> bool:
    """Return whether a folder has merges that mark the end of a word, as GPT's do."""
    if not (folder / VOCAB).exists() or not (folder / MERGES).exists():
        return False
    return WORD_END in _read_text(folder / MERGES)


def read_gpt_bpe(folder: Path) -> GptVocabulary:
    """Read vocab.json and merges.txt. Raises MasscliError if they are not GPT's."""
    ids = read_json(folder / VOCAB)
    if not all(type(piece_id) is int for piece_id in ids.values()) or "<unk>" not in ids:
        raise MasscliError(
            f"{folder / VOCAB}: is not GPT's vocabulary", "expected ids of pieces, <unk> among them"
        )
    merges = _read_merges(folder / MERGES)
    rows_by_piece: dict[str, int] = {}
    left_out = []
    for their_piece in sorted(ids, key=lambda piece: int(ids[piece])):
        if their_piece == "<unk>":
            continue
        # `the</w>` is `the` here, and `th` is `th@@`.
        if their_piece.endswith(WORD_END):
            piece = their_piece.removesuffix(WORD_END)
        else:
            piece = their_piece + BPE_CONTINUATION
        # The packed model has a piece a line, each once.
        if "\n" in piece or piece in rows_by_piece:
            left_out.append(their_piece)
        else:
            rows_by_piece[piece] = ids[their_piece]
    # The BPE model here begins with special pieces, of which GPT has the unknown one only.
    rows = [NEW_ROW] * len(XLM_SPECIAL_PIECES) + list(rows_by_piece.values())
    rows[UNKNOWN_ID] = ids["<unk>"]
    return GptVocabulary(pack_bpe_codes(list(rows_by_piece), merges), rows, left_out)


def _read_merges(path: Path) -> list[str]:
    """Return the lines of merges.txt without the one that says its version."""
    lines = _read_text(path).removesuffix("\n").split("\n")
    if lines[0].startswith("#version"):
        lines = lines[1:]
    for line in lines:
        # Blank lines do no harm.
        if line and line.count(" ") != 1:
            raise MasscliError(f"{path}: expected PIECE PIECE, got {line!r}")
    return lines


def _read_text(path: Path) -> str:
    try:
        return decode_text(path.read_bytes(), path)
    except OSError as error:
        raise MasscliError(
            f"{path}: cannot be read ({error})", "expected the merges of GPT, in UTF-8"
        ) from None
