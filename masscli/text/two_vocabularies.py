"""Separate vocabularies for source and target, which share one range of ids.

    ids    pieces of the source | free ids | special pieces of both | pieces of the target
           <------------ the encoder reads ----------->
                                <----------- the decoder reads ---------------------->

The pieces of each side are thus one range of ids, and special pieces have the same ids on both sides.
Free ids are for special pieces that the two models lack, such as [M]. A line is encoded with the model
of its language. masscli stores both models as one file: a header, a line of JSON with the languages and
the sizes in bytes, then the models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from masscli.core.json_text import parse_json
from masscli.text.markers import BPE_CONTINUATION, SENTENCEPIECE_SPACE
from masscli.text.packed_vocabulary import is_list_of
from masscli.text.subword_model import BadModelError, SubwordModel, pieces_of

HEADER = b"masscli two-vocabularies\n"
FREE_IDS = 16
"""The number of ids for special pieces that both models lack: [M], [CLS], [SEP], spare ones, and two
languages."""
_HINT = "masscli writes such a file when it imports a checkpoint with two vocabularies"


def is_two_vocabularies(data: bytes) -> bool:
    """Return whether the bytes of a file have the header that `pack_two_vocabularies` writes."""
    return data.startswith(HEADER)


def pack_two_vocabularies(
    source: tuple[str, bytes], target: tuple[str, bytes]
) -> bytes:
    """Return the bytes of a file that holds two subword models, for TwoVocabularies to read.

    `source` and `target` are each a language and the bytes of its model.
    """
    table = {
        "languages": [source[0], target[0]],
        "sizes": [len(source[1]), len(target[1])],
    }
    return HEADER + json.dumps(table).encode() + b"\n" + source[1] + target[1]


@dataclass(frozen=True)
class Side:
    """The subword model of the source or of the target, whose ids are mapped to the common range of ids.

    `ids` holds the common id for each id of `model`. The methods are those of SubwordModel, with common ids,
    except `id_to_piece`.
    """

    model: SubwordModel
    ids: Sequence[int]

    def __len__(self) -> int:
        return len(self.model)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The common id of each special piece, by masscli's name for it, such as `<mask>`."""
        return {
            name: self.ids[own_id] for name, own_id in self.model.special_ids.items()
        }

    @property
    def free_ids(self) -> Sequence[int]:
        """Always empty: the free ids are those of TwoVocabularies, which both sides have in common."""
        return ()

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return a list of common token ids for each line, without start and end symbols."""
        encoded = []
        for row in self.model.encode(lines):
            encoded.append([self.ids[own_id] for own_id in row])
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that common ids stand for; ids that only the other side has are left out."""
        known = [self._own_ids[our_id] for our_id in ids if our_id in self._own_ids]
        return self.model.decode(known)

    @cached_property
    def _own_ids(self) -> Mapping[int, int]:
        """The id in `model` for each common id that it has."""
        return {our_id: own_id for own_id, our_id in enumerate(self.ids)}

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id; ids are the model's own here, not the common ones.

        WordCache needs the pieces in this way.
        """
        return self.model.id_to_piece(ids)


class TwoVocabularies:
    """A subword model made of one for the source and one for the target; implements SubwordModel.

    `sides` has the two models by language, each with its ids in the common range. `source_ids`, `target_ids`
    and `predicted_ids` are the ranges of ids that the encoder, the decoder and the output layer know; they
    overlap in the special ids, as the picture above shows.
    """

    def __init__(
        self, data: bytes, open_model: Callable[[bytes], SubwordModel]
    ) -> None:
        """Load the bytes that `pack_two_vocabularies` returned; `open_model` loads the bytes of each part.

        Raises BadModelError if they are damaged, or if the two models have different special pieces.
        """
        languages, parts = unpack_two_vocabularies(data)
        source, target = map(open_model, parts)
        if source.special_ids.keys() != target.special_ids.keys():
            raise BadModelError(
                "has other special pieces for the source than for the target", _HINT
            )
        first_free = len(source) - _count_special(source)
        first_special = first_free + FREE_IDS
        # Roles may share an id, as [SEP] is the end symbol in BERT's vocabularies.
        numbers: dict[int, int] = {}
        for own_id in source.special_ids.values():
            numbers.setdefault(own_id, first_special + len(numbers))
        self._special_ids = {
            name: numbers[own_id] for name, own_id in source.special_ids.items()
        }
        first_target = first_special + len(numbers)
        end = first_target + len(target) - _count_special(target)
        self.free_ids: Sequence[int] = range(first_free, first_special)
        self.source_ids = range(first_target)
        self.target_ids = range(first_free, end)
        self.predicted_ids = range(first_special, end)
        self.sides = {
            languages[0]: Side(source, _place(source, self._special_ids, 0)),
            languages[1]: Side(target, _place(target, self._special_ids, first_target)),
        }
        # Names of the free ids; all others are replaced by those of the two models.
        self._pieces = [f"<{number}>" for number in range(end)]
        for side in self.sides.values():
            for our_id, piece in zip(
                side.ids, side.model.id_to_piece(range(len(side))), strict=True
            ):
                self._pieces[our_id] = piece
        # Both sides are of one kind, which shows in their pieces.
        self.marker = BPE_CONTINUATION
        if any(piece.startswith(SENTENCEPIECE_SPACE) for piece in self._pieces):
            self.marker = SENTENCEPIECE_SPACE

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The id of each special piece, by masscli's name for it; both models have the same ones."""
        return self._special_ids

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return a list of token ids for each line, encoded by the model of the source.

        For text of a known language, use the `encode` of its side.
        """
        source, _ = self.sides.values()
        return source.encode(lines)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that ids stand for in the model of the target; ids of the source are left out."""
        _, target = self.sides.values()
        return target.decode(ids)

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id; an id without a piece is written as a number, like `<32000>`."""
        return pieces_of(ids, self._pieces)


def _count_special(model: SubwordModel) -> int:
    """Return the number of different ids of special pieces; several roles may share an id."""
    return len(set(model.special_ids.values()))


def _place(
    model: SubwordModel, special_ids: Mapping[str, int], first: int
) -> list[int]:
    """Return the common id for each id of a model.

    Special pieces get the common ids in `special_ids`, and the others get `first`, `first` + 1, ... in order.
    """
    shared = {own_id: special_ids[name] for name, own_id in model.special_ids.items()}
    ids = []
    for own_id in range(len(model)):
        if own_id in shared:
            ids.append(shared[own_id])
        else:
            ids.append(first)
            first += 1
    return ids


def unpack_two_vocabularies(data: bytes) -> tuple[list[str], list[bytes]]:
    """Return the two languages and the bytes of the two models, the source first.

    Raises BadModelError if the file is damaged.
    """
    error = BadModelError("is a damaged pair of vocabularies", _HINT)
    line, _, rest = data.removeprefix(HEADER).partition(b"\n")
    try:
        table = parse_json(line)
        languages, sizes = table["languages"], table["sizes"]
    except (ValueError, TypeError, KeyError):
        raise error from None
    if not is_list_of(languages, str) or not is_list_of(sizes, int):
        raise error
    # The sides are found by language, so the two must have different names.
    if not len(languages) == len(set(languages)) == len(sizes) == 2:
        raise error
    if min(sizes) < 0 or sum(sizes) != len(rest):
        raise error
    return languages, [rest[: sizes[0]], rest[sizes[0] :]]
