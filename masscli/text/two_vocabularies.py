"""A vocabulary of its own for source and target, in one space of ids.

    ids    pieces of the source | free ids | special pieces of both | pieces of the target
           <------------ the encoder reads ----------->
                                <----------- the decoder reads ---------------------->

So each side is one range of ids, and special pieces have the same ids on both. Free ids are for special
pieces that the models lack, such as [M]. A line is encoded with the vocabulary of its language. We store both
models as one file: after a header a line of JSON with the languages and the sizes, then the models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from masscli.text.markers import BPE_CONTINUATION, SENTENCEPIECE_SPACE
from masscli.text.subword_model import BadModelError, SubwordModel, pieces_of

HEADER = b"masscli two-vocabularies\n"
FREE_IDS = 16
"""Ids for special pieces that the two models lack: [M], [CLS], [SEP], spare ones, and two languages."""
_HINT = "masscli writes such a file when it imports a checkpoint with two vocabularies"


def is_two_vocabularies(data: bytes) -> bool:
    """Return whether a file is one that `pack_two_vocabularies` makes."""
    return data.startswith(HEADER)


def pack_two_vocabularies(source: tuple[str, bytes], target: tuple[str, bytes]) -> bytes:
    """Return two models as one file, which TwoVocabularies reads. Each comes with its language."""
    table = {
        "languages": [source[0], target[0]],
        "sizes": [len(source[1]), len(target[1])],
    }
    return HEADER + json.dumps(table).encode() + b"\n" + source[1] + target[1]


@dataclass(frozen=True)
class Side:
    """One of the two models, with our id for each of its own; see SubwordModel for the methods."""

    model: SubwordModel
    ids: Sequence[int]

    def __len__(self) -> int:
        return len(self.model)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """Our ids of the special pieces by name."""
        return {name: self.ids[own_id] for name, own_id in self.model.special_ids.items()}

    @property
    def free_ids(self) -> Sequence[int]:
        """No ids: those of both sides together are free."""
        return ()

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return the ids of each line."""
        return [[self.ids[own_id] for own_id in row] for row in self.model.encode(lines)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids; ids of the other side have none."""
        own_ids = {our_id: own_id for own_id, our_id in enumerate(self.ids)}
        return self.model.decode([own_ids[our_id] for our_id in ids if our_id in own_ids])

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the model's pieces for its own ids, as WordCache asks for them."""
        return self.model.id_to_piece(ids)


class TwoVocabularies:
    """The vocabularies of source and target; see SubwordModel for the methods."""

    def __init__(self, data: bytes, open_model: Callable[[bytes], SubwordModel]) -> None:
        """Read what `pack_two_vocabularies` made. Raises BadModelError if it is damaged."""
        languages, parts = _unpack(data)
        source, target = map(open_model, parts)
        if source.special_ids.keys() != target.special_ids.keys():
            raise BadModelError("has other special pieces for the source than for the target", _HINT)
        first_free = len(source) - _count_special(source)
        first_special = first_free + FREE_IDS
        # Roles may share an id, as [SEP] is the end symbol in BERT's vocabularies.
        numbers: dict[int, int] = {}
        for own_id in source.special_ids.values():
            numbers.setdefault(own_id, first_special + len(numbers))
        self._special_ids = {name: numbers[own_id] for name, own_id in source.special_ids.items()}
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
        self._pieces = [f"<{number}>" for number in range(end)]
        for side in self.sides.values():
            for our_id, piece in zip(side.ids, side.model.id_to_piece(range(len(side))), strict=True):
                self._pieces[our_id] = piece
        self.marker = BPE_CONTINUATION
        if any(piece.startswith(SENTENCEPIECE_SPACE) for piece in self._pieces):
            self.marker = SENTENCEPIECE_SPACE

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The ids of the special pieces of both models by name."""
        return self._special_ids

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return the ids of each line, as text of the source. A tokenizer asks the side of a language."""
        source, _ = self.sides.values()
        return source.encode(lines)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids, as text of the target."""
        _, target = self.sides.values()
        return target.decode(ids)

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces; an id without one is written as `<id>`."""
        return pieces_of(ids, self._pieces)


def _count_special(model: SubwordModel) -> int:
    return len(set(model.special_ids.values()))


def _place(model: SubwordModel, special_ids: Mapping[str, int], first: int) -> list[int]:
    """Return our id for each id of a model, whose ordinary pieces begin with our id `first`."""
    shared = {own_id: special_ids[name] for name, own_id in model.special_ids.items()}
    ids = []
    for own_id in range(len(model)):
        if own_id in shared:
            ids.append(shared[own_id])
        else:
            ids.append(first)
            first += 1
    return ids


def _unpack(data: bytes) -> tuple[list[str], list[bytes]]:
    """Return the two languages and the bytes of the two models. Raises BadModelError if they are damaged."""
    line, _, rest = data.removeprefix(HEADER).partition(b"\n")
    try:
        table = json.loads(line)
        languages, sizes = table["languages"], table["sizes"]
        first, second = sizes
        valid = len({str(language) for language in languages}) == 2 and first + second == len(rest)
    except (ValueError, TypeError, KeyError, RecursionError):
        valid = False
    if not valid:
        raise BadModelError("is a damaged pair of vocabularies", _HINT)
    return [str(language) for language in languages], [rest[:first], rest[first:]]
