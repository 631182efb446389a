"""Test sets of WMT in their own markup: SGML (newstest2014-ref.de.sgm, ...) and, since 2021, XML."""

from __future__ import annotations

import html
import re
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.text.corpus import SUFFIXES, display_path, read_text

MARKUP_SUFFIXES = frozenset((".sgm", ".sgml", ".xml"))
"""Suffixes of files in such markup."""

_TAG = re.compile(
    r"<(?P<tag>doc|src|ref|hyp)\b(?P<attributes>[^>]*)>"
    r"|<seg\b[^>]*/>|<seg\b[^>]*>(?P<text>.*?)</seg\s*>",
    re.IGNORECASE | re.DOTALL,
)
_NAME = re.compile(
    r"\b(?:sysid|translator|system)\s*=\s*[\"']?([^\"'\s>]+)", re.IGNORECASE
)


def is_test_set(path: Path) -> bool:
    """Return whether a file's name says that it is marked up, whether or not it is compressed."""
    suffixes = [suffix for suffix in path.suffixes if suffix not in SUFFIXES]
    return bool(suffixes) and suffixes[-1].lower() in MARKUP_SUFFIXES


def read_test_set(path: Path) -> dict[str, list[str]]:
    """Return the segments of each translation in a file, by the name of its translator or system.

    Sources in XML are left out. Runs of white space within a segment become single spaces. Raises
    MasscliError if there is no translation, or if two do not have equally many segments.
    """
    translations: dict[str, list[str]] = {}
    name: str | None = None
    for match in _TAG.finditer(read_text(path)):
        tag = match["tag"]
        if tag is None:
            # In XML, a source has segments as well.
            if name is not None:
                text = " ".join(html.unescape(match["text"] or "").split())
                translations.setdefault(name, []).append(text)
        elif tag.lower() == "src":
            name = None
        else:
            found = _NAME.search(match["attributes"])
            name = found[1] if found else ""
    file = display_path(path)
    if not translations:
        raise MasscliError(
            f"{file}: has no segment of a translation",
            "test sets have <seg id=...>text</seg> in each document; is it plain text with this name?",
        )
    counts = {name: len(lines) for name, lines in translations.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
        raise MasscliError(
            f"{file}: its translations have different numbers of segments: {shown}",
            "take out one translation, a segment on each line",
        )
    return translations
