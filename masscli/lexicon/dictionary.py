"""Bilingual dictionaries: word pairs of two languages, as files and as translations of vocabulary pieces.

A dictionary is text with a line `WORD WORD` for each pair, the first word of one language, the second
of the other. Columns are separated by tabs if the line has one, and otherwise by spaces. Further columns
are ignored, and a word may have several translations on several lines.
Only words that are a single piece of the vocabulary can be exchanged, since the length of a line must
not change. `masscli dictionary` makes such files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.data.storage.data_folder import DataFolder
from masscli.text.corpus import iter_lines
from masscli.text.markers import SENTENCEPIECE_SPACE
from masscli.text.single_line import one_cell


class WordPair(NamedTuple):
    """A word of one language, its translation, and a score: the higher, the more certain."""

    first: str
    second: str
    score: float


def dictionary_text(pairs: Sequence[WordPair]) -> str:
    """Return the text of a dictionary file: a line for each pair, with words and score separated by tabs."""
    lines = [
        f"{one_cell(pair.first)}\t{one_cell(pair.second)}\t{pair.score:.3f}\n"
        for pair in pairs
    ]
    return "".join(lines)


def read_dictionary(path: Path, data: DataFolder) -> dict[int, Ids]:
    """Return the translations of vocabulary pieces, by id, from a dictionary file, in both directions.

    Each piece of either language is mapped to the sorted ids of its translations in the other. Pairs of two
    equal words are left out, since nothing would be exchanged, and so are words of several pieces. Raises
    MasscliError when no pair is left, when a line has a single word, or when the file cannot be read.
    """
    translations: dict[int, set[int]] = {}
    pairs, total = _read_piece_pairs(path, data)
    for first, second in pairs:
        if first != second:
            translations.setdefault(first, set()).add(second)
            translations.setdefault(second, set()).add(first)
    if not translations:
        raise MasscliError(
            f"{path}: none of its {total} pairs are pieces of the vocabulary of {data.folder}",
            "is it lower-cased like the vocabulary?",
        )
    # Sorted, because the order of a set is not reproducible.
    return {piece: np.array(sorted(others)) for piece, others in translations.items()}


def unusable_entries(path: Path, data: DataFolder) -> str | None:
    """Return a remark on how many pairs of a file have a word that is not one piece, or None if none has."""
    pairs, total = _read_piece_pairs(path, data)
    if len(pairs) == total:
        return None
    return (
        f"{path}: {total - len(pairs):,} of its {total:,} pairs have a word that is not one piece of the "
        "vocabulary, and are not used"
    )


def vocabulary_pieces(data: DataFolder) -> list[str]:
    """Return the names of all pieces of the vocabulary of a data folder, in the order of their ids.

    Raises MasscliError when no piece has SentencePiece's mark of the beginning of a word, as in WordPiece.
    """
    pieces = data.tokenizer().ids_to_pieces(range(data.vocab.size))
    if not any(piece.startswith(SENTENCEPIECE_SPACE) for piece in pieces):
        raise MasscliError(
            f"{data.folder}: its vocabulary does not mark where words begin",
            "dictionaries need a SentencePiece vocabulary",
        )
    return pieces


def check_languages(data: DataFolder, languages: Sequence[str]) -> None:
    """Raise MasscliError when a data folder does not have one of these languages."""
    for language in languages:
        if language not in data.languages:
            raise MasscliError(
                f"{data.folder}: has no language {language!r}",
                f"it has {', '.join(data.languages)}",
            )


def _read_piece_pairs(
    path: Path, data: DataFolder
) -> tuple[list[tuple[int, int]], int]:
    """Return the pairs of a dictionary file whose words are one piece each, and how many pairs it has in all.

    A pair is two piece ids. Raises MasscliError for a line with a single word.
    """
    # Special pieces are not words, even if a line contains one.
    ids = {}
    for number, piece in enumerate(vocabulary_pieces(data)):
        if number not in data.vocab.special_ids:
            ids[piece] = number
    pairs = []
    total = 0
    # Blank lines and further columns are ignored.
    for number, line in enumerate(iter_lines(path), 1):
        if not line.strip():
            continue
        # Between tabs there may be phrases, whose first two words translate nothing.
        words = line.split("\t" if "\t" in line else None)[:2]
        if len(words) < 2 or not all(word.strip() for word in words):
            raise MasscliError(
                f"{path}:{number}: expected two words, got {line.strip()!r}",
                "a line is WORD WORD",
            )
        total += 1
        first, second = [ids.get(SENTENCEPIECE_SPACE + word.strip()) for word in words]
        if first is not None and second is not None:
            pairs.append((first, second))
    return pairs, total
