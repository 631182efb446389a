"""Test sets of WMT in their own markup: SGML (newstest2014-ref.de.sgm, ...) and, since 2021, XML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.text.corpus import display_path, is_marked_up, iter_lines, read_text

_NO_SEGMENTS = "test sets have <seg id=...>text</seg> in each document; is it plain text with this name?"
_TAG = re.compile(
    r"<(?P<tag>doc|src|ref|hyp)\b(?P<attributes>[^>]*)>"
    r"|<seg\b[^>]*/>|<seg\b[^>]*>(?P<text>.*?)</seg\s*>",
    re.IGNORECASE | re.DOTALL,
)
_NAME = re.compile(
    r"\b(?:sysid|translator|system)\s*=\s*[\"']?([^\"'\s>]+)", re.IGNORECASE
)


def source_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text that is to be translated: of a file of lines, or of a test set by its name.

    Of a test set they are its sources, or else the only translation in it, as SGML has them in files of their
    own. Raises MasscliError if there is none, or if the file cannot be read.
    """
    if not is_marked_up(path):
        return iter_lines(path)
    sources, translations = _read_segments(path)
    if sources:
        return iter(sources)
    return iter(_only_one(display_path(path), translations))


def translation_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a translation: those of a file of lines, or the only one in a test set, by its name.

    Raises MasscliError if a test set has several translations or none, or if the file cannot be read.
    """
    if not is_marked_up(path):
        return iter_lines(path)
    return iter(_only_one(display_path(path), read_test_set(path)))


def read_test_set(path: Path) -> dict[str, list[str]]:
    """Return the segments of each translation in a file, by the name of its translator or system.

    Sources in XML are left out. Runs of white space within a segment become single spaces. Raises
    MasscliError if there is no translation, or if two do not have equally many segments.
    """
    _, translations = _read_segments(path)
    if not translations:
        raise MasscliError(
            f"{display_path(path)}: has no segment of a translation", _NO_SEGMENTS
        )
    return translations


def _read_segments(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Return (sources in XML, segments of each translation or of the text in SGML); see `read_test_set`."""
    sources: list[str] = []
    translations: dict[str, list[str]] = {}
    # Where the next segment belongs; None before the first text.
    current: list[str] | None = None
    for match in _TAG.finditer(read_text(path)):
        tag = match["tag"]
        if tag is None:
            if current is not None:
                current.append(" ".join(html.unescape(match["text"] or "").split()))
        elif tag.lower() == "src":
            current = sources
        else:
            found = _NAME.search(match["attributes"])
            current = translations.setdefault(found[1] if found else "", [])
    # In XML, a document holds the texts, and has no segments of its own.
    translations = {name: lines for name, lines in translations.items() if lines}
    counts = {name: len(lines) for name, lines in translations.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
        raise MasscliError(
            f"{display_path(path)}: its translations have different numbers of segments: {shown}",
            "take out one translation, a segment on each line",
        )
    return sources, translations


def _only_one(file: str, translations: Mapping[str, list[str]]) -> list[str]:
    """Return the segments of the only translation in a test set; raise MasscliError unless there is one."""
    if not translations:
        raise MasscliError(f"{file}: has no segments", _NO_SEGMENTS)
    if len(translations) > 1:
        raise MasscliError(
            f"{file}: has translations of several systems: {', '.join(translations)}",
            "take out one of them, a segment on each line",
        )
    [lines] = translations.values()
    return lines
