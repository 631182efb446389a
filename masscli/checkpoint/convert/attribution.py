"""Where imported weights are from, and under which licence: kept with a run, and written into every export.

A folder of Hugging Face says it in the head of its README.md (a table in YAML, of which only plain lines
`key: value` are read) and in `_name_or_path` of config.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masscli.version import __version__

NOTICE = "NOTICE"
_CARD = "README.md"
_HEAD = re.compile(r"---\r?\n(.*?)\r?\n---", re.DOTALL)
_LINE = re.compile(r"(license|license_name|license_link|base_model)\s*:\s*(\S.*)")
MAX_LENGTH = 200
"""Longest value that is kept, in characters."""


def read_attribution(folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a line on where the weights in a folder are from, after what its own NOTICE says."""
    parts = [f"folder {folder.name}"]
    name = config.get("_name_or_path")
    if isinstance(name, str) and name.strip():
        parts.append(f"name {_printable(name)}")
    head = _HEAD.match(_read_text(folder / _CARD))
    for line in head[1].splitlines() if head else []:
        match = _LINE.match(line)
        if match:
            parts.append(f"{match[1]} {_printable(match[2])}")
    earlier = [line for line in _read_text(folder / NOTICE).splitlines() if line.startswith("- ")]
    return (*(_printable(line.removeprefix("- ")) for line in earlier), ", ".join(parts))


def notice_file(attribution: Sequence[str]) -> dict[str, bytes]:
    """Return the file that says where the weights of a run are from, by its name; none for its own."""
    if not attribution:
        return {}
    listed = "".join(f"- {line}\n" for line in attribution)
    text = f"Written by masscli {__version__}. The model began with these weights, the first ones first:\n"
    return {NOTICE: (text + listed).encode()}


def _read_text(path: Path) -> str:
    """Return the text of a small file; an empty one if there is none that can be read."""
    if not path.is_file():
        return ""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""


def _printable(text: str) -> str:
    """Return a text on one line, without what a terminal might obey."""
    letters = [letter if letter.isprintable() else " " for letter in text.strip()[:MAX_LENGTH]]
    return "".join(letters)
