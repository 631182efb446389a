"""Check the texts that a program gives to a model."""

from __future__ import annotations

from typing import Any

from masscli.core.errors import MasscliError


def require_text(name: str, text: Any) -> None:
    """Raise TypeError if `text`, called `name` in the message, is not a string.

    Raises MasscliError if it is a string that cannot be encoded as UTF-8: JSON and file names may
    contain unpaired surrogates, which are not characters.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} is of type {type(text).__name__}; give a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MasscliError(
            f"{name}: has an unpaired surrogate (at character {error.start + 1})",
            "decode it again, or drop it: text.encode(errors='ignore').decode()",
        ) from None
