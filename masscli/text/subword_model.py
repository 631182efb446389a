"""The interface of subword models, which the tokenizer uses for all kinds of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class BadModelError(Exception):
    """Raised if bytes are not a subword model of the expected kind.

    `message` is the rest of a sentence that begins with the name of the file, such as "has no pieces";
    the code that catches the error puts the name in front. `hint` says what to do.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SubwordModel(Protocol):
    """The interface of a subword model, which turns text into ids and back.

    Its ids are 0 to `len(model) - 1`. A tokenizer may give special pieces further ids after them.
    """

    def __len__(self) -> int: ...

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The id of each special piece of the model, by masscli's name for it, such as `<mask>`."""
        ...

    @property
    def free_ids(self) -> Sequence[int]:
        """The ids of unused pieces, which can be given to special pieces that the model lacks."""
        ...

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return a list of token ids for each line, without start and end symbols."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that the ids stand for, with UNKNOWN_TEXT for unknown pieces.

        An id of `len(model)` or above, which only a damaged or a foreign model can write, counts as unknown.
        """
        ...

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id, with its word marker; for an id beyond the last, like `<32000>`."""
        ...


def pieces_of(ids: Sequence[int], pieces: Sequence[str]) -> list[str]:
    """Look up ids in `pieces`, and return the piece for each, and like `<32000>` for one beyond the last."""
    found = []
    for i in ids:
        if i < len(pieces):
            found.append(pieces[i])
        else:
            found.append(f"<{int(i)}>")
    return found
