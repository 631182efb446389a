"""A dictionary of fairseq over words, or over the pieces into which merges cut words.

fairseq cuts text with the merges of subword-nmt or fastBPE, or finds it cut at white space, and looks the
pieces up in a dictionary. The ids are those of the dictionary: `<s> <pad> </s> <unk>`, then its lines. A
piece that it lacks is unknown, and is not cut further. (With SentencePiece see numbered_sentencepiece.py.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from masscli.text.bpe_codes import merge_word, rank_merges
from masscli.text.markers import BPE_CONTINUATION, UNKNOWN_TEXT
from masscli.text.packed_vocabulary import PackedVocabulary, damaged, is_list_of, unpack
from masscli.text.subword_model import pieces_of

HEADER = b"masscli dictionary\n"


def is_dictionary(data: bytes) -> bool:
    """Return whether a file is one that `pack_dictionary` makes."""
    return data.startswith(HEADER)


def pack_dictionary(
    pieces: Sequence[str],
    special_ids: Mapping[str, int],
    merges: Sequence[str] | None = None,
    unused_ids: Sequence[int] = (),
) -> bytes:
    """Return a dictionary and its merges `A B` as one file. Without merges text is cut at white space.

    `pieces` are in the order of their ids, each once; see PackedVocabulary. `special_ids` must have `<unk>`.
    """
    rest = {}
    if merges is not None:
        rest["merges"] = list(merges)
    return PackedVocabulary(pieces, special_ids, unused_ids, rest).pack(HEADER)


class DictionaryModel:
    """A dictionary of fairseq; see SubwordModel for the methods."""

    def __init__(self, data: bytes) -> None:
        """Read what `pack_dictionary` made. Raises BadModelError if it is damaged."""
        vocabulary = unpack(data, HEADER)
        merges = vocabulary.rest.get("merges")
        valid = merges is None or (is_list_of(merges, str) and all(merge.count(" ") == 1 for merge in merges))
        if not valid or "<unk>" not in vocabulary.special_ids:
            raise damaged(HEADER)
        self._pieces = vocabulary.pieces
        self._special_ids = vocabulary.special_ids
        self._unused_ids = vocabulary.unused_ids
        self._ids = vocabulary.text_ids
        self._unknown = vocabulary.special_ids["<unk>"]
        self._ranks: dict[tuple[str, str], int] | None = None
        if merges is not None:
            self._ranks = rank_merges(merges)

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The ids of the special pieces, by masscli's names for them."""
        return self._special_ids

    @property
    def free_ids(self) -> Sequence[int]:
        """The ids of pieces that no text has."""
        return self._unused_ids

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return the ids of each line."""
        encoded = []
        for line in lines:
            ids = []
            for word in line.split():
                ids += [self._ids.get(piece, self._unknown) for piece in self._cut(word)]
            encoded.append(ids)
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        """Return the words with spaces between them, and UNKNOWN_TEXT for unknown pieces."""
        pieces = []
        for piece_id, piece in zip(ids, self.id_to_piece(ids), strict=True):
            pieces.append(UNKNOWN_TEXT if piece_id == self._unknown else piece)
        # The space at the end lets a mark on the last piece be removed like any other.
        return f"{' '.join(pieces)} ".replace(f"{BPE_CONTINUATION} ", "").rstrip(" ")

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces as they stand in the dictionary; an id beyond its end is written as `<id>`."""
        return pieces_of(ids, self._pieces)

    def _cut(self, word: str) -> list[str]:
        """Return the pieces of a word, with `@@` behind all but the last."""
        if self._ranks is None:
            return [word]
        *first, last = merge_word(word, self._ranks)
        return [*(f"{piece}{BPE_CONTINUATION}" for piece in first), last]
