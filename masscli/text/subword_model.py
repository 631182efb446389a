"""The interface of subword models: what the tokenizer needs of a model, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class BadModelError(Exception):
    """Raised if bytes are not a subword model of the expected kind.

    The message continues a line that begins with the name of the file.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SubwordModel(Protocol):
    """The interface of a subword model: text to ids and back, with ids from 0 to `len(model) - 1`."""

    def __len__(self) -> int: ...

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The ids of special pieces by name: `<pad>`, `<s>`, `</s>`, `<unk>`, `<mask>`, ..."""
        ...

    @property
    def free_ids(self) -> Sequence[int]:
        """The ids without a meaning, which can be given to special pieces that the model lacks."""
        ...

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return the ids of each line."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids."""
        ...

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces as the model writes them; an id beyond its end is written as `<id>`."""
        ...


def pieces_of(ids: Sequence[int], pieces: Sequence[str]) -> list[str]:
    """Return the piece for each id, and `<id>` for an id beyond the end of `pieces`."""
    found = []
    for i in ids:
        if i < len(pieces):
            found.append(pieces[i])
        else:
            found.append(f"<{int(i)}>")
    return found
