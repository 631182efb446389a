"""Read the body of a translation request, up to a size limit, and check its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

MAX_FIELDS = 1000
"""Largest number of fields that a form may have."""


class RefusedError(Exception):
    """Raised to answer a request with an HTTP error status and a message."""

    def __init__(
        self, status: int, message: str, retry_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_seconds = retry_seconds
        """When the client should try again (Retry-After); None if that would not help."""


@dataclass(frozen=True, slots=True)
class TranslationRequest:
    """The checked fields of a POST /translate request; `source` or `target` is None if it is to be inferred.

    `alternatives` is the number of translations besides the best one, and `model` the name of a model or
    None for any. LibreTranslate has the same fields except for `model` and `details`.
    """

    texts: list[str]
    is_list: bool
    """Whether the field `q` was a list of texts, so that the answer is a list, too."""
    source: str | None
    target: str | None
    alternatives: int
    model: str | None
    details: bool
    """Whether the answer has confidences, flags and pieces of each line."""


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body of an HTTP request.

    Raises RefusedError (413) as soon as it is known to be longer than `limit` bytes, without reading the
    rest, and RefusedError (400) if the client disconnects before its end.
    """
    too_long = RefusedError(413, f"the body is longer than {limit} bytes")
    declared = request.headers.get("content-length", "")
    # Python refuses to convert thousands of digits, and twenty are enough to be too many bytes.
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise too_long
    body = bytearray()
    try:
        # A client may declare nothing, or less than it sends.
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise too_long
    except ClientDisconnect:
        raise RefusedError(400, "the body is incomplete") from None
    return bytes(body)


def parse_request(
    body: bytes, content_type: str, max_text_length: int
) -> TranslationRequest:
    """Parse and check the body of POST /translate, a form if `content_type` says so, otherwise JSON.

    Raises RefusedError if it is malformed (400), or if its texts have more than `max_text_length` characters
    together, or are more than that many themselves (413).
    """
    if (
        content_type.partition(";")[0].strip().lower()
        == "application/x-www-form-urlencoded"
    ):
        fields = _parse_form(body)
    else:
        fields = _parse_json(body)
    texts = fields.get("q")
    is_list = isinstance(texts, list)
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RefusedError(400, "q: expected a text or a list of texts")
    for text in texts:
        _check_unicode(text)
    length = sum(len(text) for text in texts)
    if length > max_text_length:
        raise RefusedError(
            413,
            f"q: {length} characters, at most {max_text_length} are translated at once",
        )
    # Empty texts have no characters, but cost time and memory, too.
    if len(texts) > max_text_length:
        raise RefusedError(
            413,
            f"q: {len(texts)} texts, at most {max_text_length} are translated at once",
        )
    source = _name(fields, "source")
    return TranslationRequest(
        texts=texts,
        is_list=is_list,
        # The only languages that could be meant are guessed; none is detected.
        source=None if source == "auto" else source,
        target=_name(fields, "target"),
        alternatives=_whole_number(fields, "alternatives"),
        model=_name(fields, "model"),
        details=fields.get("details") in (True, "true"),
    )


def _parse_json(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body is not JSON ({str(error)[:100]})") from None
    if not isinstance(value, dict):
        raise RefusedError(400, "the body is not a JSON object")
    return value


def _parse_form(body: bytes) -> Mapping[str, Any]:
    """Return the fields of a URL-encoded form by name; several fields `q` become a list.

    Of several other fields of one name the last one counts. Raises RefusedError (400) if it is not such
    a form, or has more than MAX_FIELDS fields.
    """
    try:
        pairs = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            max_num_fields=MAX_FIELDS,
            errors="strict",
        )
    except ValueError as error:
        raise RefusedError(
            400, f"the body is not a form ({str(error)[:100]})"
        ) from None
    fields: dict[str, Any] = dict(pairs)
    texts = [value for name, value in pairs if name == "q"]
    if len(texts) > 1:
        fields["q"] = texts
    return fields


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedError(400, "q: has half of a surrogate pair") from None


def _name(fields: Mapping[str, Any], key: str) -> str | None:
    """Return the field `key` as a name, or None if it is absent or empty.

    Raises RefusedError (400) if it is not a printable string of at most 200 characters.
    """
    value = fields.get(key)
    if value in (None, ""):
        return None
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise RefusedError(400, f"{key}: expected a name")
    return value


def _whole_number(fields: Mapping[str, Any], key: str) -> int:
    """Return the field `key` as a whole number; 0 if it is absent. Up to five digits in a text are one, too.

    Raises RefusedError (400) if it is not a whole number from 0.
    """
    value = fields.get(key, 0)
    if (
        isinstance(value, str)
        and value.isascii()
        and value.isdigit()
        and len(value) < 6
    ):
        value = int(value)
    if type(value) is not int or value < 0:
        raise RefusedError(400, f"{key}: expected a whole number")
    return value
