"""Store a published vocabulary in one file: a header, then JSON with its pieces and their ids.

`vocab.model` of a data folder is one file, but a published vocabulary may be several: a dictionary, merges, a
SentencePiece model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from masscli.text.subword_model import BadModelError

_HINT = "masscli writes such a file when it imports a vocabulary"


@dataclass(frozen=True)
class PackedVocabulary:
    """The contents of such a file.

    `pieces` are in the order of their ids, each once. `special_ids` are ids of some of them by masscli's
    names (`<s>`, `<mask>`, ...), and `unused_ids` are those that no text has. `rest` is what the kind of the
    vocabulary needs besides.
    """

    pieces: Sequence[str]
    special_ids: Mapping[str, int]
    unused_ids: Sequence[int]
    rest: Mapping[str, Any]

    def pack(self, header: bytes) -> bytes:
        """Return the file, which begins with `header`."""
        content = {
            **self.rest,
            "pieces": list(self.pieces),
            "special_ids": dict(self.special_ids),
            "unused_ids": list(self.unused_ids),
        }
        return header + json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()

    @property
    def text_ids(self) -> dict[str, int]:
        """The ids by piece, without special and unused ones, so that no text becomes one of them."""
        not_text = {*self.special_ids.values(), *self.unused_ids}
        return {piece: i for i, piece in enumerate(self.pieces) if i not in not_text}


def unpack(data: bytes, header: bytes) -> PackedVocabulary:
    """Read a file that `PackedVocabulary.pack` made.

    Raises BadModelError, which names the kind by its header, if a part of it is missing or of another type.
    """
    error = damaged(header)
    try:
        content = json.loads(data.removeprefix(header))
    except (ValueError, RecursionError):
        raise error from None
    if not isinstance(content, dict):
        raise error
    pieces: Any = content.pop("pieces", None)
    special_ids: Any = content.pop("special_ids", None)
    unused_ids: Any = content.pop("unused_ids", None)
    valid = (
        is_list_of(pieces, str)
        and len(set(pieces)) == len(pieces)
        and isinstance(special_ids, dict)
        and is_list_of(list(special_ids.values()), int)
        and is_list_of(unused_ids, int)
        and all(0 <= i < len(pieces) for i in (*special_ids.values(), *unused_ids))
    )
    if not valid:
        raise error
    return PackedVocabulary(pieces, special_ids, unused_ids, content)


def damaged(header: bytes) -> BadModelError:
    """Return the error for a damaged file of the kind that begins with `header`."""
    kind = header.decode().removeprefix("masscli ").strip()
    return BadModelError(f"is a damaged vocabulary of the kind {kind}", _HINT)


def is_list_of(value: Any, kind: type) -> bool:
    """Return whether a value is a list of nothing but this type; booleans are no integers."""
    return isinstance(value, list) and all(type(item) is kind for item in value)


def read_merges(rest: Mapping[str, Any], header: bytes) -> list[tuple[str, str]]:
    """Return the merges of a packed vocabulary. Raises BadModelError if they are not pairs of pieces."""
    merges = rest.get("merges")
    if not isinstance(merges, list):
        raise damaged(header)
    pairs = []
    for pair in merges:
        if not is_list_of(pair, str) or len(pair) != 2:
            raise damaged(header)
        pairs.append((pair[0], pair[1]))
    return pairs
