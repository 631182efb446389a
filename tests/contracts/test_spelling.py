"""Prose is in American spelling, as the names of the field are (normalize, initialize, tokenizer)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
BRITISH = re.compile(
    r"\b(?:un|de|re)?(?:(?:initial|normal|binar|token|optim|quant|recogn|summar|capital|factor)is(?:e|ed|es|ing|ation)"
    r"|(?:behavi|neighb|fav|col|hon)our\w*|label(?:led|ling)|licence\w*|(?:mis)?spelt)\b",
    re.IGNORECASE,
)
NAMES = re.compile(r"`[^`\n]*`|\S*[_/.]\S*[_/.a-z]\S*")
"""Code in backquotes, identifiers and paths, which are spelled as they are."""


def texts() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each page, and of each docstring and message of the package."""
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        yield str(page.relative_to(ROOT)), page.read_text(encoding="utf-8")
    for path in (ROOT / "masscli").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        # Most files need not be parsed.
        if not BRITISH.search(source):
            continue
        for node in ast.walk(ast.parse(source)):
            # A string of one word is a name.
            if isinstance(node, ast.Constant) and " " in str(node.value):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", str(node.value)


def test_prose_is_in_american_spelling() -> None:
    found = []
    for place, text in texts():
        for word in BRITISH.findall(NAMES.sub(" ", text)):
            found.append(f"{place}: {word}")
    assert not found
