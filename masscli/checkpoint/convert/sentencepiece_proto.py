"""Read parts of a SentencePiece model that its library does not expose: normalizer, user-defined pieces.

The file is a protocol buffer (sentencepiece_model.proto): a sequence of fields, each with a number, a
wire type and a value. Only a few fields are read, so the package protobuf is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_PIECE, _TRAINER_SPEC, _NORMALIZER_SPEC = 1, 2, 3
_PIECE_TEXT, _PIECE_TYPE = 1, 3
_USER_DEFINED = 4
_CHARSMAP, _ADD_DUMMY_PREFIX, _REMOVE_EXTRA_WHITESPACES = 2, 3, 4
_MODEL_TYPE = 3
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
UNIGRAM, BPE = 1, 2
"""Two values of `NormalizerSpec.model_type`, as numbered in sentencepiece_model.proto."""


class NormalizerSpec(NamedTuple):
    """The type of a SentencePiece model, and how it normalizes text before splitting it into pieces."""

    charsmap: bytes
    """The table of character replacements, in SentencePiece's own format."""
    add_dummy_prefix: bool
    """Whether a space is prepended to the text."""
    remove_extra_whitespaces: bool
    """Whether spaces at both ends are removed, and runs of spaces are collapsed."""
    model_type: int
    """`UNIGRAM`, `BPE` or another number of SentencePiece's."""


def read_normalizer_spec(model: bytes) -> NormalizerSpec:
    """Return the settings in the bytes of a SentencePiece model; those not stored have their defaults.

    SentencePiece must already have loaded the same bytes, since damaged data is not handled here.
    """
    # For a repeated field, such as pieces, only the last value is kept; none is needed here.
    sections = {
        number: value for number, value in _fields(model) if isinstance(value, bytes)
    }
    normalizer = dict(_fields(sections.get(_NORMALIZER_SPEC, b"")))
    trainer = dict(_fields(sections.get(_TRAINER_SPEC, b"")))
    charsmap = normalizer.get(_CHARSMAP, b"")
    assert isinstance(charsmap, bytes)
    # The defaults are those of sentencepiece_model.proto: a field with its default value may be absent
    # from the file.
    return NormalizerSpec(
        charsmap,
        bool(normalizer.get(_ADD_DUMMY_PREFIX, 1)),
        bool(normalizer.get(_REMOVE_EXTRA_WHITESPACES, 1)),
        int(trainer.get(_MODEL_TYPE, UNIGRAM)),
    )


def user_defined_pieces(model: bytes) -> list[str]:
    """Return the pieces that SentencePiece matches before it splits text (`user_defined_symbols`).

    SentencePiece must already have loaded the same bytes, since damaged data is not handled here.
    """
    pieces = []
    for number, value in _fields(model):
        if number != _PIECE or not isinstance(value, bytes):
            continue
        fields = dict(_fields(value))
        text = fields.get(_PIECE_TEXT)
        if fields.get(_PIECE_TYPE) == _USER_DEFINED and isinstance(text, bytes):
            pieces.append(text.decode())
    return pieces


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield the number and the value of each field of a protocol-buffer message.

    The value is an int, or bytes for strings and nested messages; fixed-width fields are skipped.
    Raises ValueError for an unknown wire type.
    """
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, position = _varint(data, position)
            yield number, value
        elif wire_type == _BYTES:
            size, position = _varint(data, position)
            yield number, data[position : position + size]
            position += size
        elif wire_type == _FIXED64:
            position += 8
        elif wire_type == _FIXED32:
            position += 4
        else:
            raise ValueError(f"field {number} has the wire type {wire_type}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number encoded at `position`, and the position after it.

    Each byte holds seven bits of the number, lowest first; its top bit says that another byte follows.
    """
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
