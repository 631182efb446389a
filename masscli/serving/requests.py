"""Read the body of a translation request, up to a size limit, and check its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from masscli.core.config import suggest

FORM = "application/x-www-form-urlencoded"
"""The media type of a form whose fields are URL-encoded."""
JSON = ("", "application/json", "text/json", "text/plain")
"""Media types of a body that is read as JSON. Browsers and simple clients may declare text/plain or
nothing."""
MAX_FIELDS = 1000
"""Largest number of fields that a form may have."""
FIELDS = (
    "q",
    "source",
    "target",
    "alternatives",
    "model",
    "details",
    "format",
    "api_key",
    "secret",
)
"""The fields that a request may have. The last two identify an account of LibreTranslate; they are accepted
and ignored."""
FORMATS = ("text", "html")
"""Values of the field `format`. Both are treated alike, since tags and character references are kept in any
text."""


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
    """The checked fields of a POST /translate request.

    LibreTranslate has the same fields except for `model` and `details`.
    """

    texts: list[str]
    is_list: bool
    """Whether the field `q` was a list of texts, so that the answer is a list, too."""
    source: str | None
    """The language of the texts; None if it follows from the target and the models."""
    target: str | None
    """The language of the translations; None if it follows from the source and the models."""
    alternatives: int
    """Number of translations of each text besides the best one."""
    model: str | None
    """The name of a model; None for any."""
    details: bool
    """Whether the answer has confidences, flags and pieces of each line."""


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body of an HTTP request.

    Raises RefusedError with status 413 as soon as the body is known to be longer than `limit` bytes, without
    reading the rest, and with status 400 if the client disconnects before the end of the body.
    """
    too_long = RefusedError(413, f"the body is longer than {limit} bytes")
    declared = request.headers.get("content-length", "")
    # Python refuses to convert thousands of digits, and a number of twenty digits exceeds any limit.
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise too_long
    body = bytearray()
    try:
        # A client may declare no length, or a smaller one, so what arrives is counted as well.
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
    """Parse and check the body of POST /translate, which is JSON, or a form if `content_type` says so.

    Raises RefusedError with status 400 if the body is malformed or a field has an invalid value, with status
    413 if the texts have more than `max_text_length` characters in total or there are more than that many
    texts, and with status 415 if the media type is neither JSON nor a form.
    """
    fields = _parse_body(body, content_type)
    for name in fields:
        if name not in FIELDS:
            shown = name[:100]
            raise RefusedError(
                400, f"no field called {shown!r}{suggest(shown, FIELDS)}"
            )
    if fields.get("format") not in (None, "", *FORMATS):
        raise RefusedError(400, f"format: expected {' or '.join(FORMATS)}")
    source = _name(fields, "source")
    return TranslationRequest(
        texts=_texts(fields, max_text_length),
        # `_texts` has raised an error if there is no such field.
        is_list=isinstance(fields["q"], list),
        # "auto" asks to detect the language. It is inferred from the models instead, as if it were absent.
        source=None if source == "auto" else source,
        target=_name(fields, "target"),
        alternatives=_count(fields, "alternatives"),
        model=_name(fields, "model"),
        details=_flag(fields, "details"),
    )


def _parse_body(body: bytes, content_type: str) -> Mapping[str, Any]:
    """Return the fields of a body by name; see `parse_request`."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == FORM:
        return _parse_form(body)
    if media_type in JSON:
        return _parse_json(body)
    raise RefusedError(
        415, f"content-type {media_type[:100]!r}: send application/json or {FORM}"
    )


def _texts(fields: Mapping[str, Any], max_text_length: int) -> list[str]:
    """Return the texts of the field `q`, one or a list; see `parse_request`."""
    texts = fields.get("q")
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
    # Empty texts have no characters, but they cost time and memory.
    if len(texts) > max_text_length:
        raise RefusedError(
            413,
            f"q: {len(texts)} texts, at most {max_text_length} are translated at once",
        )
    return texts


def _parse_json(body: bytes) -> Mapping[str, Any]:
    """Return the fields of a JSON object by name; raise RefusedError (400) if the body is none."""
    try:
        value = json.loads(body, object_pairs_hook=_fields_once)
    except (ValueError, RecursionError) as error:
        # Some messages continue with advice to Python programmers after a semicolon.
        reason = str(error).partition(";")[0][:100]
        raise RefusedError(400, f"the body is not JSON ({reason})") from None
    if not isinstance(value, dict):
        raise RefusedError(400, "the body is not a JSON object")
    return value


def _parse_form(body: bytes) -> Mapping[str, Any]:
    """Return the fields of a URL-encoded form by name.

    The field `q` may occur several times and is then a list. Raises RefusedError (400) if the body is not
    such a form, has more than MAX_FIELDS fields, or has a field other than `q` twice.
    """
    # `curl -d` declares JSON as a form unless the user gives its content type.
    if body.lstrip().startswith(b"{"):
        raise RefusedError(
            400, "the body is no form; send JSON as content-type: application/json"
        )
    # parse_qsl can check this, too, but its message does not name the limit.
    if body.count(b"&") >= MAX_FIELDS:
        raise RefusedError(400, f"the body has more than {MAX_FIELDS} fields")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise RefusedError(
            400, f"the body is not a form ({str(error)[:100]})"
        ) from None
    texts = [value for name, value in pairs if name == "q"]
    fields = _fields_once([pair for pair in pairs if pair[0] != "q"])
    if texts:
        fields["q"] = texts[0] if len(texts) == 1 else texts
    return fields


def _fields_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return fields, given as pairs of name and value, as a dictionary.

    Raises RefusedError (400) if a name occurs twice, since a dictionary would keep only the last value.
    """
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in fields if names.count(name) > 1)
        raise RefusedError(400, f"{twice[:100]!r} is given twice")
    return fields


def _check_unicode(text: str) -> None:
    """Raise RefusedError (400) if a text has half of a surrogate pair, as JSON can (`"\\ud800"`)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedError(400, "q: has an unpaired surrogate") from None


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


def _count(fields: Mapping[str, Any], key: str) -> int:
    """Return the field `key` as a whole number, 0 if it is absent.

    A string of at most five digits is also accepted, since forms have only strings. Raises RefusedError (400)
    if the field is not a whole number or is negative.
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


def _flag(fields: Mapping[str, Any], key: str) -> bool:
    """Return the field `key` as a Boolean, False if it is absent or empty.

    The strings `true` and `false` are also accepted, since forms have only strings. Raises RefusedError (400)
    if the field has any other value.
    """
    value = fields.get(key)
    if value in (None, "", False, "false"):
        return False
    if value in (True, "true"):
        return True
    raise RefusedError(400, f"{key}: expected true or false")
