"""The file format of a shortlist: CTranslate2's `vmap`, with a first line that identifies its use.

For each n-gram of source pieces it has a line of

    source pieces, separated by spaces  <TAB>  target pieces, separated by spaces

A line with nothing before the tab has pieces that are always candidates. The first line of a file of masscli
has, instead of a source piece, the direction, a checksum of the vocabulary and one of the lines that
follow, such as `masscli:en-de:0123456789abcdef:fedcba9876543210`. To CTranslate2 this is a source piece that
never occurs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.generation.shortlist import Ngram, Shortlist
from masscli.text.corpus import iter_lines
from masscli.text.vocabulary import IdRanges

DIGITS = 16
"""Number of hexadecimal digits of a sha256 in the first line."""

HINT = "masscli shortlist makes such a file, in the vocabulary of a data folder"

_PURPOSE = re.compile(
    r"masscli:(?P<direction>[^:]*):(?P<vocabulary>\w+):(?P<lines>\w+)\t"
)


def read_shortlist(
    path: Path, names: Sequence[str], ranges: IdRanges | None = None
) -> Shortlist:
    """Read a shortlist from a file in the format of CTranslate2; `names` are the pieces by id.

    `ranges` are the ids of source and target (default: all ids are both), since a model with a vocabulary for
    each has some names twice. Raises MasscliError if the file is empty, if its first line tells of another
    vocabulary or of other lines, and with the number of a line that has another form, the n-gram of an
    earlier line, or a piece that is not in the vocabulary: such a file was made for another model.
    """
    ranges = ranges or IdRanges.all_of(len(names))
    source_ids = {names[number]: number for number in ranges.source}
    target_ids = {names[number]: number for number in ranges.target}
    lines = list(iter_lines(path))
    direction, first_line = _check_purpose(path, lines, names)
    candidates: dict[Ngram, Ids] = {}
    for number, line in enumerate(lines[first_line:], first_line + 1):
        source, tab, target = line.partition("\t")
        if not tab:
            raise MasscliError(
                f"{path}:{number}: expected source pieces, a tab and target pieces",
                HINT,
            )
        place = f"{path}:{number}"
        ngram = tuple(_ids_of_pieces(source, source_ids, place))
        if ngram in candidates:
            raise MasscliError(
                f"{place}: an earlier line has the same source pieces",
                "write all target pieces of an n-gram in one line",
            )
        candidates[ngram] = np.array(
            _ids_of_pieces(target, target_ids, place), np.int64
        )
    if not candidates:
        raise MasscliError(f"{path}: is empty", HINT)
    return Shortlist(candidates, direction)


def _check_purpose(
    path: Path, lines: Sequence[str], names: Sequence[str]
) -> tuple[str | None, int]:
    """Return the direction that the first line of a file tells, and how many lines stand before the n-grams.

    These are None and 0 for a file of another program. Raises MasscliError if the vocabulary, whose pieces by
    id are `names`, or the lines are not those that the first line tells of.
    """
    purpose = _PURPOSE.fullmatch(lines[0]) if lines else None
    if purpose is None:
        return None, 0
    if purpose["vocabulary"] != _checksum("\n".join(names)):
        raise MasscliError(
            f"{path}: is for a different vocabulary from the model's", HINT
        )
    if purpose["lines"] != _checksum("".join(f"{line}\n" for line in lines[1:])):
        raise MasscliError(
            f"{path}: was cut off or changed after masscli shortlist had written it",
            "make it again or, if you have changed the file yourself, delete its first line",
        )
    return purpose["direction"], 1


def _ids_of_pieces(text: str, id_of: Mapping[str, int], place: str) -> list[int]:
    """Return the ids of pieces that are separated by single spaces; an empty text has none.

    Raises MasscliError, which names `place`, if a piece is not in `id_of`.
    """
    if not text:
        return []
    ids = []
    for piece in text.split(" "):
        if piece not in id_of:
            raise MasscliError(
                f"{place}: {piece!r} is not in the vocabulary of the model", HINT
            )
        ids.append(id_of[piece])
    return ids


def _checksum(text: str) -> str:
    """Return the beginning of the sha256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def shortlist_text(shortlist: Shortlist, names: Sequence[str]) -> str:
    """Return the text of a shortlist's file, in the format of CTranslate2; `names` are the pieces by id.

    The first line says what it is for, unless the shortlist has no direction. Raises MasscliError if a piece
    is empty or has a space, tab or line break, which the format cannot express.
    """
    lines = []
    for ngram, ids in shortlist.candidates.items():
        source = [names[number] for number in ngram]
        target = [names[number] for number in ids]
        for name in (*source, *target):
            if not name or " " in name or "\t" in name or "\n" in name:
                raise MasscliError(
                    f"the piece {name!r} has white space, so no shortlist can name it"
                )
        lines.append(f"{' '.join(source)}\t{' '.join(target)}\n")
    text = "".join(lines)
    if shortlist.direction is None:
        return text
    vocabulary = _checksum("\n".join(names))
    return f"masscli:{shortlist.direction}:{vocabulary}:{_checksum(text)}\t\n{text}"
