"""SentencePiece with the ids of a separate dictionary: fairseq, XLM-R, CamemBERT, mBART.

SentencePiece splits a line into pieces, and a dictionary says which id each piece has. A piece that the
dictionary lacks is unknown, also if it is a byte of a character that SentencePiece lacks (`byte_fallback`).
Text is never encoded into special pieces. Some languages may have a SentencePiece model of their own, whose
pieces have the ids of the same dictionary, as in Marian's published models.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import Any

from masscli.text.markers import SENTENCEPIECE_SPACE, UNKNOWN_TEXT
from masscli.text.packed_model import PackedModel
from masscli.text.packed_vocabulary import PackedVocabulary, damaged, unpack
from masscli.text.sentencepiece_model import SentencePieceModel
from masscli.text.subword_model import pieces_of

HEADER = b"masscli numbered-sentencepiece\n"
_BYTE = re.compile("<0x([0-9A-F]{2})>")
NO_MODELS: Mapping[str, bytes] = MappingProxyType({})


def pack_numbered_sentencepiece(
    model: bytes,
    pieces: Sequence[str],
    special_ids: Mapping[str, int],
    unused_ids: Sequence[int] = (),
    language_models: Mapping[str, bytes] = NO_MODELS,
) -> bytes:
    """Return the bytes of a file that holds a SentencePiece model and a dictionary.

    `model` is the bytes of the SentencePiece model. `pieces` are those of the dictionary in the order of
    their ids, each once. `special_ids` maps masscli's names of special pieces to ids and must have `<unk>`.
    `unused_ids` are the ids of pieces that no text is encoded into. `language_models` maps each language that
    has a model of its own to the bytes of that model.
    """
    # The file is JSON after its header, which cannot hold the bytes of a model as they are.
    rest: dict[str, Any] = {"model": base64.b64encode(model).decode()}
    if language_models:
        encoded = {}
        for language, data in language_models.items():
            encoded[language] = base64.b64encode(data).decode()
        rest["language_models"] = encoded
    return PackedVocabulary(pieces, special_ids, unused_ids, rest).pack(HEADER)


class NumberedSentencePieceModel(PackedModel):
    """A subword model that is a SentencePiece model with a separate dictionary; implements SubwordModel.

    `sides` maps each language that has a SentencePiece model of its own to a subword model with that one and
    the same dictionary.
    """

    def __init__(self, data: bytes) -> None:
        """Load the bytes that `pack_numbered_sentencepiece` returned.

        Raises BadModelError if they are damaged.
        """
        vocabulary = unpack(data, HEADER)
        if "<unk>" not in vocabulary.special_ids:
            raise damaged(HEADER)
        super().__init__(vocabulary)
        self._unknown = vocabulary.special_ids["<unk>"]
        self.model_bytes = _decode_model(vocabulary.rest.get("model"))
        opened = SentencePieceModel(self.model_bytes)
        self._processor = opened.processor
        self.has_bytes = opened.has_bytes
        """Whether a model writes characters that it lacks as bytes, in pieces such as `<0xC3>`."""
        language_models = vocabulary.rest.get("language_models", {})
        if not isinstance(language_models, dict):
            raise damaged(HEADER)
        # The same dictionary with another SentencePiece model.
        self.sides: dict[str, NumberedSentencePieceModel] = {}
        for language, encoded in language_models.items():
            side = copy(self)
            opened = SentencePieceModel(_decode_model(encoded))
            side._processor = opened.processor
            self.sides[language] = side
            # What one side writes, the dictionary of both reads.
            self.has_bytes = self.has_bytes or opened.has_bytes
        for side in self.sides.values():
            side.has_bytes = self.has_bytes

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return a list of token ids for each line, without start and end symbols."""
        encoded = []
        # SentencePiece's own ids are not those of the dictionary, so lines are split into named pieces.
        for pieces in self._processor.encode(list(lines), out_type=str):
            encoded.append([self._ids.get(piece, self._unknown) for piece in pieces])
        return encoded

    def encode_as_pieces(self, line: str) -> list[str]:
        """Return the pieces of a line; a run of characters that SentencePiece lacks is one, or its bytes."""
        pieces: list[str] = self._processor.encode(line, out_type=str)
        return pieces

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that the ids stand for.

        Unknown pieces, and ids beyond the vocabulary's end, become words that are UNKNOWN_TEXT.
        """
        pieces = []
        for i in ids:
            if i == self._unknown or i >= len(self._pieces):
                pieces.append(
                    f"{SENTENCEPIECE_SPACE}{UNKNOWN_TEXT}{SENTENCEPIECE_SPACE}"
                )
            else:
                pieces.append(self._pieces[i])
        return self.pieces_to_text(pieces)

    def pieces_to_text(self, pieces: Sequence[str]) -> str:
        """Return the text that pieces stand for, without spaces at its ends.

        Bytes that are no UTF-8 become U+FFFD.
        """
        if self.has_bytes:
            pieces = _join_bytes(pieces)
        return "".join(pieces).replace(SENTENCEPIECE_SPACE, " ").strip(" ")

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id, as in the dictionary, and like `<32000>` for an id beyond its end."""
        return pieces_of(ids, self._pieces)


def _decode_model(encoded: Any) -> bytes:
    """Return the bytes of a SentencePiece model from base64. Raises BadModelError if this is not base64."""
    if not isinstance(encoded, str):
        raise damaged(HEADER)
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        raise damaged(HEADER) from None


def _join_bytes(pieces: Sequence[str]) -> list[str]:
    """Return the pieces with the text of each run of bytes (`<0xC3>`, `<0xA9>`) in its place."""
    joined = []
    run = bytearray()
    for piece in pieces:
        byte = _BYTE.fullmatch(piece)
        if byte:
            run.append(int(byte[1], 16))
            continue
        joined.append(run.decode("utf-8", "replace"))
        run.clear()
        joined.append(piece)
    joined.append(run.decode("utf-8", "replace"))
    return joined
