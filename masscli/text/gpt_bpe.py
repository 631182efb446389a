"""The BPE of GPT (Radford et al. 2018), which marks ends of words: `the</w>` is a word, `th` a part of one.

Text is lower-cased, loses its accents and is split at punctuation as BERT's is; so Hugging Face's tokenizer
has it. GPT itself used spaCy there. The ids are those of the published vocab.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from masscli.text.bpe_merging import merge_pairs, rank_merges
from masscli.text.markers import BPE_CONTINUATION, UNKNOWN_TEXT
from masscli.text.packed_vocabulary import PackedVocabulary, damaged, read_merges, unpack
from masscli.text.subword_model import pieces_of
from masscli.text.wordpiece import basic_tokens

HEADER = b"masscli gpt-bpe\n"
WORD_END = "</w>"


def pack_gpt_bpe(
    pieces: Sequence[str],
    merges: Sequence[tuple[str, str]],
    special_ids: Mapping[str, int],
    unused_ids: Sequence[int] = (),
) -> bytes:
    """Return a vocabulary as one file, which GptBpeModel reads.

    `pieces` are in the order of their ids, each once; see PackedVocabulary. `special_ids` must have `<unk>`.
    """
    rest = {"merges": [list(pair) for pair in merges]}
    return PackedVocabulary(pieces, special_ids, unused_ids, rest).pack(HEADER)


class GptBpeModel:
    """GPT's BPE; see SubwordModel for the methods."""

    def __init__(self, data: bytes) -> None:
        """Read what `pack_gpt_bpe` made. Raises BadModelError if it is damaged."""
        vocabulary = unpack(data, HEADER)
        if "<unk>" not in vocabulary.special_ids:
            raise damaged(HEADER)
        self._pieces = vocabulary.pieces
        self._special_ids = vocabulary.special_ids
        self._unused_ids = vocabulary.unused_ids
        self._ids = vocabulary.text_ids
        self._unknown = vocabulary.special_ids["<unk>"]
        self.merges = read_merges(vocabulary.rest, HEADER)
        self._ranks = rank_merges(self.merges)

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

    @property
    def published_pieces(self) -> Sequence[str]:
        """The pieces as they stand in vocab.json."""
        return self._pieces

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return the ids of each line, which is in lower case."""
        encoded = []
        for line in lines:
            ids: list[int] = []
            for word in basic_tokens(line, keep_accents=False):
                letters = [*word[:-1], word[-1] + WORD_END]
                ids += [self._ids.get(piece, self._unknown) for piece in merge_pairs(letters, self._ranks)]
            encoded.append(ids)
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        """Return the words with spaces between them, and UNKNOWN_TEXT for unknown pieces."""
        pieces = []
        for i in ids:
            if i == self._unknown or i >= len(self._pieces):
                pieces.append(UNKNOWN_TEXT + WORD_END)
            else:
                pieces.append(self._pieces[i])
        return "".join(pieces).replace(WORD_END, " ").rstrip(" ")

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces as BPE codes write them: `the`, and `th@@` if the word goes on.

        An id beyond the vocabulary's end is written as `<id>`.
        """
        return list(map(show_continuation, pieces_of(ids, self._pieces)))


def show_continuation(piece: str) -> str:
    """Return a piece that marks the end of a word as one that marks that the word goes on."""
    if piece.endswith(WORD_END):
        return piece.removesuffix(WORD_END)
    return piece + BPE_CONTINUATION
