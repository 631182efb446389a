"""Read test sets of WMT in their own markup: SGML (newstest2014-ref.de.sgm, ...) and, since 2021, XML.

A test set consists of documents (`doc`), and these of segments (`seg`), one for each sentence. In SGML a file
has either the source or one or more translations, whose documents name their system. In XML a file has both:
a document contains the source (`src`), references (`ref`) and outputs of systems (`hyp`).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.text.corpus import display_path, format_suffix, iter_lines, read_text

TEST_SET_SUFFIXES = frozenset((".sgm", ".sgml", ".xml"))
"""Suffixes of the files of test sets."""
_NO_SEGMENTS = "test sets have <seg id=...>text</seg> in each document; is it plain text with this name?"
_TAG = re.compile(
    r"<(?P<tag>doc|src|ref|hyp)\b(?P<attributes>[^>]*)>"
    r"|<seg\b[^>]*/>|<seg\b[^>]*>(?P<text>.*?)</seg\s*>",
    re.IGNORECASE | re.DOTALL,
)
"""Matches the start of a document or of one of its texts, and a whole segment."""
_NAME = re.compile(
    r"\b(?:sysid|translator|system)\s*=\s*[\"']?([^\"'\s>]+)", re.IGNORECASE
)


def is_test_set(path: Path) -> bool:
    """Return whether a file's name says that it is a test set, whether or not it is compressed."""
    return format_suffix(path) in TEST_SET_SUFFIXES


def source_lines(path: Path) -> Iterator[str]:
    """Return the lines of a text that is to be translated; of a test set, the segments of its source.

    A file is a test set if its name says so (`is_test_set`). SGML does not mark sources, so the only text of
    such a file is taken as the source. Raises MasscliError if there is no text, or several and none is marked
    as the source, or if the file cannot be read.
    """
    if not is_test_set(path):
        return iter_lines(path)
    sources, translations = _read_segments(path)
    if sources:
        return iter(sources)
    return iter(_only_one(display_path(path), translations))


def translation_lines(path: Path) -> Iterator[str]:
    """Return the lines of a translation; of a test set, the segments of the only translation in it.

    A file is a test set if its name says so (`is_test_set`). Raises MasscliError if a test set has several
    translations or none, or if the file cannot be read.
    """
    if not is_test_set(path):
        return iter_lines(path)
    return iter(_only_one(display_path(path), read_test_set(path)))


def read_test_set(path: Path) -> dict[str, list[str]]:
    """Return the segments of each translation in a test set, by the name of its translator or system.

    The name is empty if the file does not have one. Sources in XML are left out. Runs of white space within a
    segment become single spaces. Raises MasscliError if there is no translation, or if translations have
    different numbers of segments.
    """
    _, translations = _read_segments(path)
    if not translations:
        raise MasscliError(
            f"{display_path(path)}: has no segment of a translation", _NO_SEGMENTS
        )
    return translations


def _read_segments(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Return the segments of the source and of each translation, as `read_test_set` describes them.

    The source is empty in SGML, whose files of sources look like those of translations.
    """
    sources: list[str] = []
    translations: dict[str, list[str]] = {}
    # The list that the next segment belongs to; None before the first text.
    current: list[str] | None = None
    for match in _TAG.finditer(read_text(path)):
        tag = match["tag"]
        if tag is None:
            if current is not None:
                current.append(" ".join(html.unescape(match["text"] or "").split()))
        elif tag.lower() == "src":
            current = sources
        else:
            name = _NAME.search(match["attributes"])
            current = translations.setdefault(name[1] if name else "", [])
    # In XML a document has no segments of its own, so the list that it began is empty.
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
    """Return the segments of the only translation in `translations`, which are those of the test set `file`.

    Raises MasscliError if there is none or more than one.
    """
    if not translations:
        raise MasscliError(f"{file}: has no segments", _NO_SEGMENTS)
    if len(translations) > 1:
        raise MasscliError(
            f"{file}: has translations of several systems: {', '.join(translations)}",
            "take out one of them, a segment on each line",
        )
    [lines] = translations.values()
    return lines
