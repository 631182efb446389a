"""JSON objects with a checksum of their own content, under the key `checksum`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

CHECKSUM = "checksum"


class SealError(ValueError):
    """The content of an object is not what its checksum was made of."""


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with its checksum, which comes last."""
    return {**content, CHECKSUM: _checksum(content)}


def unseal(sealed: object) -> dict[str, Any]:
    """Return the object without its checksum. Raises SealError if it has none, or one that does not fit."""
    if not isinstance(sealed, Mapping):
        raise SealError("it is not an object")
    content = {key: value for key, value in sealed.items() if key != CHECKSUM}
    if sealed.get(CHECKSUM) != _checksum(content):
        raise SealError("it does not match its checksum")
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    """Return the sha256 of the content, whatever the order of its keys and the white space in the file."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
