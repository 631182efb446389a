"""Store a published vocabulary in one file: a header line, then JSON with its pieces and special ids.

A data folder stores its subword model as one file, `vocab.model`, but a published vocabulary may consist of
several files, such as a dictionary, merges and a SentencePiece model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from masscli.core.json_text import parse_json
from masscli.text.subword_model import BadModelError

_HINT = "masscli writes such a file when it imports a vocabulary"


@dataclass(frozen=True)
class PackedVocabulary:
    """A published vocabulary, as it is stored in one file.

    `pieces` are in the order of their ids, each once. `special_ids` maps masscli's names of special
    pieces (`<s>`, `<mask>`, ...) to ids, and `unused_ids` are the ids of pieces that no text is encoded
    into. `rest` has the additional data of a certain kind of vocabulary, such as merges; it must be
    serializable as JSON.
    """

    pieces: Sequence[str]
    special_ids: Mapping[str, int]
    unused_ids: Sequence[int]
    rest: Mapping[str, Any]

    def pack(self, header: bytes) -> bytes:
        """Return the bytes of the file: `header`, then JSON."""
        content = {
            **self.rest,
            "pieces": list(self.pieces),
            "special_ids": dict(self.special_ids),
            "unused_ids": list(self.unused_ids),
        }
        return (
            header
            + json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        )

    @property
    def text_ids(self) -> dict[str, int]:
        """The id of each piece that text can be encoded into: all but special and unused pieces."""
        not_text = {*self.special_ids.values(), *self.unused_ids}
        return {piece: i for i, piece in enumerate(self.pieces) if i not in not_text}


def unpack(data: bytes, header: bytes) -> PackedVocabulary:
    """Read the bytes that `PackedVocabulary.pack` returned, with the same `header`.

    Raises BadModelError if a part is missing or malformed; its message names the kind that the header tells.
    """
    error = damaged(header)
    try:
        content = parse_json(data.removeprefix(header))
    except ValueError:
        raise error from None
    if not isinstance(content, dict):
        raise error
    pieces: Any = content.pop("pieces", None)
    special_ids: Any = content.pop("special_ids", None)
    unused_ids: Any = content.pop("unused_ids", None)
    # Everything is validated here, so that the models can index by ids without further checks.
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
    # The rest is read by the specific kind of vocabulary.
    return PackedVocabulary(pieces, special_ids, unused_ids, content)


def damaged(header: bytes) -> BadModelError:
    """Return, without raising it, the error for a damaged file whose header is `header`."""
    kind = header.decode().removeprefix("masscli ").strip()
    return BadModelError(f"is a damaged vocabulary of the kind {kind}", _HINT)


def is_list_of(value: Any, kind: type) -> bool:
    """Return whether a value is a list whose items are all exactly of this type: True is not an int."""
    return isinstance(value, list) and all(type(item) is kind for item in value)


def read_merges(rest: Mapping[str, Any], header: bytes) -> list[tuple[str, str]]:
    """Return the merges in the `rest` of a packed vocabulary, as pairs of pieces, in the order of learning.

    Raises BadModelError if they are missing or not pairs of strings; `header` tells its message the kind.
    """
    merges = rest.get("merges")
    if not isinstance(merges, list):
        raise damaged(header)
    pairs = []
    for pair in merges:
        if not is_list_of(pair, str) or len(pair) != 2:
            raise damaged(header)
        pairs.append((pair[0], pair[1]))
    return pairs
