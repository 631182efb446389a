"""Parse JSON that may come from elsewhere, or be damaged."""

from __future__ import annotations

import json
import sys
from typing import Any


class HalfCharacterError(ValueError):
    """A string has an escape such as `\\ud800`, an unpaired surrogate, which UTF-8 cannot encode."""


class RepeatedNameError(ValueError):
    """An object has two fields of the same name, of which Python would keep the last."""


def parse_json(text: str | bytes, *, distinct_names: bool = False) -> Any:
    """Return the value of a JSON text; bytes must be UTF-8, and may start with a byte order mark.

    NaN and Infinity are read as numbers, as in `json.loads`.

    Raises ValueError with a one-line message if the text is not JSON, is nested too deeply, or has an
    integer of more than 4,300 digits; its subclass HalfCharacterError if a string or key is not valid
    Unicode; and, with `distinct_names`, its subclass RepeatedNameError if an object has a name twice.
    """
    # From bytes, `json.loads` would also accept UTF-16, and encoded unpaired surrogates.
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        value = json.loads(
            text, object_pairs_hook=_distinct_fields if distinct_names else None
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise HalfCharacterError(f"{half!r} is an unpaired surrogate") from None
    except (json.JSONDecodeError, RepeatedNameError):
        raise
    except ValueError:
        # Python's own message would advise changing a setting of the interpreter.
        limit = sys.get_int_max_str_digits()
        raise ValueError(f"an integer has more than {limit:,} digits") from None
    return value


def _distinct_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of an object; raise RepeatedNameError if two have the same name."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise RepeatedNameError(f"has the name {repeated!r} twice in an object")
    return fields
