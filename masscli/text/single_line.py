"""Write any text as one line, one cell of a table or one line of JSON.

A model may write a line end: vocabularies with bytes have one, and answers or labels from JSON may hold one.
Outputs must have a line for each line of the input all the same. Readers differ in what ends a line (Python's
`str.splitlines` knows ten characters, masscli one), so none of these characters is ever written.
"""

from __future__ import annotations

import json
import re
from typing import Any

LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""What `str.splitlines` splits at."""
_UNSAFE = LINE_ENDS + "\0"
_UNSAFE_RUN = re.compile(f"[{_UNSAFE}]+")
_JSON_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"})
"""The line ends that JSON allows in a string."""


def one_line(text: str) -> str:
    """Return the text with a space in place of line ends and NUL; at its start and end they are dropped."""
    return _UNSAFE_RUN.sub(" ", text.strip(_UNSAFE))


def one_cell(text: str) -> str:
    """Return the text as one line without tabs, which separate the cells of a table."""
    return one_line(text).replace("\t", " ")


def json_line(value: Any) -> str:
    """Return a value as JSON on one line. Line ends in strings are escaped, so nothing is lost."""
    return json.dumps(value, ensure_ascii=False).translate(_JSON_ESCAPES)
