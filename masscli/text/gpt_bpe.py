"""The BPE of GPT (Radford et al. 2018), which marks ends of words: `the</w>` ends a word, `th` does not.

Text is split at punctuation and loses its accents as in BERT, like in Hugging Face's GPT tokenizer; GPT
itself used spaCy for this. Text must be lower-cased beforehand. The ids are those of the published
vocab.json.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from masscli.text.bpe_merging import last_ranks, merge_pairs
from masscli.text.markers import BPE_CONTINUATION, UNKNOWN_TEXT
from masscli.text.packed_model import PackedModel
from masscli.text.packed_vocabulary import (
    PackedVocabulary,
    damaged,
    read_merges,
    unpack,
)
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
    """Return the bytes of a file that holds a vocabulary of GPT, for GptBpeModel to read.

    `pieces` are in the order of their ids, each once, and `merges` are pairs of pieces, the first learned
    first. `special_ids` maps masscli's names of special pieces to ids and must have `<unk>`. `unused_ids` are
    the ids of pieces that no text is encoded into.
    """
    rest = {"merges": [list(pair) for pair in merges]}
    return PackedVocabulary(pieces, special_ids, unused_ids, rest).pack(HEADER)


class GptBpeModel(PackedModel):
    """A subword model that is GPT's BPE; implements SubwordModel."""

    def __init__(self, data: bytes) -> None:
        """Load the bytes that `pack_gpt_bpe` returned. Raises BadModelError if they are damaged."""
        vocabulary = unpack(data, HEADER)
        if "<unk>" not in vocabulary.special_ids:
            raise damaged(HEADER)
        super().__init__(vocabulary)
        self._unknown = vocabulary.special_ids["<unk>"]
        self.merges = read_merges(vocabulary.rest, HEADER)
        self._ranks = last_ranks(self.merges)

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return a list of token ids for each line, without start and end symbols.

        Lines must be in lower case already; accents are removed here.
        """
        encoded = []
        for line in lines:
            ids: list[int] = []
            for word in basic_tokens(line, keep_accents=False):
                # The last letter of a word differs from the same letter within one.
                letters = [*word[:-1], word[-1] + WORD_END]
                pieces = merge_pairs(letters, self._ranks)
                ids += [self._ids.get(piece, self._unknown) for piece in pieces]
            encoded.append(ids)
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        """Return the words that the ids stand for, with spaces between them.

        An unknown piece, or an id beyond the vocabulary's end, is written as UNKNOWN_TEXT and ends its word.
        """
        pieces = []
        for i in ids:
            if i == self._unknown or i >= len(self._pieces):
                # Without this, the next word would be attached to it.
                pieces.append(UNKNOWN_TEXT + WORD_END)
            else:
                pieces.append(self._pieces[i])
        return "".join(pieces).replace(WORD_END, " ").rstrip(" ")

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id, with the mark of subword-nmt: `the` ends a word, `th@@` does not.

        Special and unused pieces have no mark; an id beyond the vocabulary's end is written like `<32000>`.
        """
        return show_continuations(pieces_of(ids, self._pieces), self._ids)


def show_continuations(pieces: Sequence[str], text_pieces: Container[str]) -> list[str]:
    """Replace GPT's mark for the end of a word by that of subword-nmt for pieces within one.

    `the</w>` becomes `the`, and `th` becomes `th@@`. Pieces that are not among `text_pieces`, such as
    `<unk>`, stay as they are.
    """
    shown = []
    for piece in pieces:
        if piece in text_pieces and not piece.endswith(WORD_END):
            piece += BPE_CONTINUATION
        shown.append(piece.removesuffix(WORD_END))
    return shown
