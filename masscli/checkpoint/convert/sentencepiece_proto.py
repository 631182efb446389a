"""Read the fields of a SentencePiece model that its library does not give: what its normalizer does.

The file is a protocol buffer (sentencepiece_model.proto): a row of fields, each with a number, a wire type
and a value. Only the few fields that are needed are read, so that the package protobuf is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_NORMALIZER_SPEC = 3
_TRAINER_SPEC = 2
_CHARSMAP, _ADD_DUMMY_PREFIX, _REMOVE_EXTRA_WHITESPACES = 2, 3, 4
_MODEL_TYPE = 3
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
UNIGRAM, BPE = 1, 2
"""Values of the field model_type."""


class NormalizerSpec(NamedTuple):
    """What a SentencePiece model does to text before it is split, and the kind of its splitting."""

    charsmap: bytes
    """The table of replaced characters, in SentencePiece's own format."""
    add_dummy_prefix: bool
    """Whether text begins with a space."""
    remove_extra_whitespaces: bool
    model_type: int


def read_normalizer_spec(model: bytes) -> NormalizerSpec:
    """Return the settings of a model that SentencePiece has accepted."""
    sections = {number: value for number, value in _fields(model) if isinstance(value, bytes)}
    normalizer = dict(_fields(sections.get(_NORMALIZER_SPEC, b"")))
    trainer = dict(_fields(sections.get(_TRAINER_SPEC, b"")))
    charsmap = normalizer.get(_CHARSMAP, b"")
    assert isinstance(charsmap, bytes)
    return NormalizerSpec(
        charsmap,
        bool(normalizer.get(_ADD_DUMMY_PREFIX, 1)),
        bool(normalizer.get(_REMOVE_EXTRA_WHITESPACES, 1)),
        int(trainer.get(_MODEL_TYPE, UNIGRAM)),
    )


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield the number and the value of each field of a message; fixed-width values are left out."""
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
    """Return the number at `position`, seven bits a byte, lowest first, and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
