"""Write any text as one line, one cell of a table or one line of JSON.

The output of a model may contain line breaks: byte-level vocabularies have a piece for one, and answers
or labels from JSON may contain one. However, output files must have one line for each input line.
Programs differ in what ends a line (Python's `str.splitlines` knows ten characters, masscli only a line
feed), so none of these characters is ever written.
"""

from __future__ import annotations

import json
import re
from typing import Any

LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""The characters at which `str.splitlines` splits."""
_UNSAFE = LINE_ENDS + "\0"
_UNSAFE_RUN = re.compile(f"[{_UNSAFE}]+")
_JSON_ESCAPES = str.maketrans(
    {character: f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}
)
"""Escapes for the line ends that JSON allows unescaped in strings; `json.dumps` escapes the others."""


def one_line(text: str) -> str:
    """Replace each run of line ends and NUL by a space, but drop those at the start and end of the text."""
    return _UNSAFE_RUN.sub(" ", text.strip(_UNSAFE))


def one_cell(text: str) -> str:
    """Return the text on one line, with spaces in place of tabs, since tabs separate the cells of a table."""
    return one_line(text).replace("\t", " ")


def json_line(value: Any) -> str:
    """Return a value as JSON on one line. Line ends within strings are escaped, so that nothing is lost."""
    return json.dumps(value, ensure_ascii=False).translate(_JSON_ESCAPES)
