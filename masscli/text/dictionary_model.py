"""A dictionary of fairseq over words, or over the pieces into which BPE merges split words.

fairseq expects text that was split with the merges of subword-nmt or fastBPE, or that is only split at white
space, and looks the pieces up in a dictionary. The ids are those of the dictionary: `<s> <pad> </s> <unk>`,
then one per line. A piece that the dictionary lacks is unknown; it is not split further.
(numbered_sentencepiece.py is for dictionaries over the pieces of SentencePiece.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from masscli.text.bpe_codes import join_bpe_pieces, merge_word, rank_merges
from masscli.text.markers import BPE_CONTINUATION, UNKNOWN_TEXT
from masscli.text.packed_model import PackedModel
from masscli.text.packed_vocabulary import PackedVocabulary, damaged, is_list_of, unpack
from masscli.text.subword_model import pieces_of

HEADER = b"masscli dictionary\n"


def pack_dictionary(
    pieces: Sequence[str],
    special_ids: Mapping[str, int],
    merges: Sequence[str] | None = None,
    unused_ids: Sequence[int] = (),
) -> bytes:
    """Return the bytes of a file that holds a dictionary and its merges, for DictionaryModel to read.

    `pieces` are in the order of their ids, each once. `special_ids` maps masscli's names of special pieces to
    ids and must have `<unk>`. `merges` are strings `A B`, the first learned first; if they are None, text is
    only split at white space. `unused_ids` are the ids of pieces that no text is encoded into.
    """
    rest = {}
    if merges is not None:
        rest["merges"] = list(merges)
    return PackedVocabulary(pieces, special_ids, unused_ids, rest).pack(HEADER)


class DictionaryModel(PackedModel):
    """A subword model that is a fairseq dictionary, with or without BPE merges; implements SubwordModel."""

    def __init__(self, data: bytes) -> None:
        """Load the bytes that `pack_dictionary` returned. Raises BadModelError if they are damaged."""
        vocabulary = unpack(data, HEADER)
        merges = vocabulary.rest.get("merges")
        valid = "<unk>" in vocabulary.special_ids
        # Without merges, text is only split at white space.
        if merges is not None:
            valid = (
                valid
                and is_list_of(merges, str)
                and all(merge.count(" ") == 1 for merge in merges)
            )
        if not valid:
            raise damaged(HEADER)
        super().__init__(vocabulary)
        self._unknown = vocabulary.special_ids["<unk>"]
        self._ranks: dict[tuple[str, str], int] | None = None
        if merges is not None:
            self._ranks = rank_merges(merges)

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return a list of token ids for each line, without start and end symbols."""
        encoded = []
        for line in lines:
            encoded.append(
                [
                    self._ids.get(piece, self._unknown)
                    for piece in self.encode_as_pieces(line)
                ]
            )
        return encoded

    def encode_as_pieces(self, line: str) -> list[str]:
        """Return the pieces of a line, whether or not the dictionary has them."""
        pieces: list[str] = []
        for word in line.split():
            pieces += self._split_word(word)
        return pieces

    def decode(self, ids: Sequence[int]) -> str:
        """Return the words that the ids stand for, with spaces between them.

        Unknown pieces, and ids beyond the vocabulary's end, are written as UNKNOWN_TEXT.
        """
        pieces = []
        for i in ids:
            if i == self._unknown or i >= len(self._pieces):
                pieces.append(UNKNOWN_TEXT)
            else:
                pieces.append(self._pieces[i])
        return self.pieces_to_text(pieces)

    def pieces_to_text(self, pieces: Sequence[str]) -> str:
        """Return the words that pieces stand for, with spaces between them."""
        return join_bpe_pieces(pieces)

    @property
    def has_merges(self) -> bool:
        """Whether words are split into pieces; without merges the words themselves are the pieces."""
        return self._ranks is not None

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id, as in the dictionary, and like `<32000>` for an id beyond its end."""
        return pieces_of(ids, self._pieces)

    def _split_word(self, word: str) -> list[str]:
        """Return the pieces of a word, with `@@` at the end of all but the last.

        Without merges the word itself is the only piece.
        """
        if self._ranks is None:
            return [word]
        *first, last = merge_word(word, self._ranks)
        return [*(f"{piece}{BPE_CONTINUATION}" for piece in first), last]
