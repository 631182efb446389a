"""The origin and license of imported weights, which are kept with a run and written to every export of it.

A Hugging Face folder states them in the front matter of its README.md (YAML between two lines `---`, of
which only plain lines `key: value` are read) and in `_name_or_path` of config.json.
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
"""Number of characters after which a value of README.md or config.json is cut off."""


def read_attribution(folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return lines that say where the weights in a folder come from, the oldest origin first.

    The items of the NOTICE in the folder, if it has one, come first. The last line describes the
    folder: its name, `_name_or_path` of its config.json (`config` is its content), and license and base
    model of its README.md, as far as they exist.
    """
    parts = [f"folder {folder.name}"]
    name = config.get("_name_or_path")
    if isinstance(name, str) and name.strip():
        parts.append(f"name {_printable(name)}")
    head = _HEAD.match(_read_text(folder / _CARD))
    if head:
        for line in head[1].splitlines():
            match = _LINE.match(line)
            if match:
                parts.append(f"{match[1]} {_printable(match[2])}")
    # A model exported by masscli lists the origins of the model that it was initialized from.
    origins = []
    for line in _read_text(folder / NOTICE).splitlines():
        if line.startswith("- "):
            origins.append(_printable(line.removeprefix("- ")))
    return (*origins, ", ".join(parts))


def notice_file(attribution: Sequence[str]) -> dict[str, bytes]:
    """Return the content of NOTICE, the file that lists the origins of a run's weights, by its file name.

    The result is an empty dict if `attribution` is empty, as for a run that was trained from scratch.
    """
    if not attribution:
        return {}
    listed = "".join(f"- {line}\n" for line in attribution)
    text = f"Written by masscli {__version__}. The model began with these weights, the first ones first:\n"
    return {NOTICE: (text + listed).encode()}


def _read_text(path: Path) -> str:
    """Return the first 65,536 characters of a file, or an empty string if it is missing or unreadable."""
    if not path.is_file():
        return ""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""


def _printable(text: str) -> str:
    """Return a text stripped, truncated to MAX_LENGTH characters, and with unprintable ones made spaces."""
    # A line break in a value would start a new line of NOTICE.
    printable = ""
    for letter in text.strip()[:MAX_LENGTH]:
        printable += letter if letter.isprintable() else " "
    return printable
