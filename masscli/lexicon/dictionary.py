"""Word pairs of two languages, and text in which some words are in the other one.

A dictionary is text: a line `WORD WORD` (or more columns, which are not read), the first of one language, the second of another; several
lines may give a word several translations.  Only words that are one piece of the vocabulary can be exchanged, since a line keeps its
length.  `masscli dictionary` makes one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.data.storage.data_folder import DataFolder
from masscli.text import corpus
from masscli.text.markers import SENTENCEPIECE_SPACE


def vocabulary_pieces(data: DataFolder) -> list[str]:
    """The pieces of the vocabulary, by id.  Raises MasscliError where none is marked as the beginning of a word, as in WordPiece."""
    pieces = data.tokenizer().ids_to_pieces(range(data.vocab.size))
    if not any(piece.startswith(SENTENCEPIECE_SPACE) for piece in pieces):
        raise MasscliError(
            f"{data.folder}: its vocabulary does not mark where words begin",
            "dictionaries need a SentencePiece vocabulary",
        )
    return pieces


def read_dictionary(path: Path, data: DataFolder) -> dict[int, Ids]:
    """Translations of pieces, both ways; pieces that are spelt alike in both languages are left out, since nothing would be exchanged."""
    found: dict[int, set[int]] = {}
    pairs, total = _entries(path, data)
    for a, b in pairs:
        if a != b:
            found.setdefault(a, set()).add(b)
            found.setdefault(b, set()).add(a)
    if not found:
        raise MasscliError(
            f"{path}: none of its {total} pairs are pieces of the vocabulary of {data.folder}",
            "is it lower-cased alike?",
        )
    return {piece: np.array(sorted(others)) for piece, others in found.items()}


def unusable_entries(path: Path, data: DataFolder) -> str | None:
    """What to tell of entries that cannot be exchanged."""
    pairs, total = _entries(path, data)
    if len(pairs) == total:
        return None
    return f"{path}: {total - len(pairs):,} of its {total:,} pairs have a word that is not one piece of the vocabulary, and are not used"


def _entries(path: Path, data: DataFolder) -> tuple[list[tuple[int, int]], int]:
    """The pairs whose words are one piece each, and how many pairs there are in all."""
    pieces = {piece: i for i, piece in enumerate(vocabulary_pieces(data)) if i not in data.vocab.special_ids}
    found, total = [], 0
    for number, line in enumerate(corpus.iter_lines(path), 1):
        words = line.split()
        if not words:
            continue
        if len(words) < 2:
            raise MasscliError(
                f"{path}:{number}: expected two words, got {line.strip()!r}", "a line is WORD WORD"
            )
        total += 1
        a, b = (pieces.get(SENTENCEPIECE_SPACE + word) for word in words[:2])
        if a is not None and b is not None:
            found.append((a, b))
    return found, total
