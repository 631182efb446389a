"""GPT's vocabulary (Radford et al. 2018): vocab.json, from pieces to ids, and merges.txt, the merges of a BPE of characters.

It is the BPE of masscli.text.bpe_codes with the end of a word marked, where there it is what goes on: `the</w>` and `th` are `the` and
`th@@`.  Vocabularies of bytes (GPT-2, RoBERTa) are in files of the same names and are something else: they mark the beginnings of words.
"""

from __future__ import annotations

from pathlib import Path

from masscli.checkpoint.convert.folder import read_json
from masscli.checkpoint.convert.tensors import NEW
from masscli.core.errors import MasscliError
from masscli.text.bpe_codes import UNKNOWN_ID, WORD_END, XLM_SPECIAL_PIECES, pack_bpe_codes
from masscli.text.markers import BPE_CONTINUATION

PIECES, MERGES = "vocab.json", "merges.txt"


def looks_like(folder: Path) -> bool:
    """Whether the merges of a folder end words as GPT's do."""
    return (folder / PIECES).exists() and (folder / MERGES).exists() and WORD_END in _text(folder / MERGES)


def read(folder: Path) -> tuple[bytes, list[int], list[str]]:
    """The model as it is kept here; for each of its ids the id there, or NEW; and the pieces that have no place here."""
    ids = read_json(folder / PIECES)
    if not all(type(number) is int for number in ids.values()) or "<unk>" not in ids:
        raise MasscliError(
            f"{folder / PIECES}: is not GPT's vocabulary", "expected ids of pieces, <unk> among them"
        )
    lines = _text(folder / MERGES).removesuffix("\n").split("\n")
    found = [line for number, line in enumerate(lines) if not (number == 0 and line.startswith("#version"))]
    if wrong := next((line for line in found if line.count(" ") != 1), None):
        raise MasscliError(f"{folder / MERGES}: expected PIECE PIECE, got {wrong!r}")
    pieces: dict[str, int] = {}
    lost: list[str] = []
    for name, number in sorted(ids.items(), key=lambda item: int(item[1])):
        piece = name.removesuffix(WORD_END) if name.endswith(WORD_END) else name + BPE_CONTINUATION
        if name == "<unk>":
            continue
        if "\n" in piece or piece in pieces:
            lost.append(name)
        else:
            pieces[piece] = number
    rows = [NEW] * len(XLM_SPECIAL_PIECES) + list(pieces.values())
    rows[UNKNOWN_ID] = ids["<unk>"]
    return pack_bpe_codes(list(pieces), found), rows, lost


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MasscliError(
            f"{path}: cannot be read ({error})", "expected the merges of GPT, in UTF-8"
        ) from None
