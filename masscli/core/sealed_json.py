"""JSON objects that contain a checksum of their other contents, under the key `checksum`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

CHECKSUM = "checksum"


class SealError(ValueError):
    """An object has no checksum, or one that does not match its contents."""


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `content` with its checksum as the last key."""
    return {**content, CHECKSUM: _checksum(content)}


def unseal(sealed: object) -> dict[str, Any]:
    """Check the checksum of an object that `seal` returned, and return a copy without it.

    Raises SealError if it is not an object, has no checksum, or has one that does not match.
    """
    if not isinstance(sealed, Mapping):
        raise SealError("it is not an object")
    content = {key: value for key, value in sealed.items() if key != CHECKSUM}
    if sealed.get(CHECKSUM) != _checksum(content):
        raise SealError("it does not match its checksum")
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    """Return the sha256, in hexadecimal, of the content as JSON; the order of its keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
