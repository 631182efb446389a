"""Find the parts of a text that a translation must preserve: placeholders, markup, and addresses.

They are placeholders of printf (`%s`, `%1$d`, `%(name)s`), of Python, ICU and template languages (`{name}`,
`{{name}}`, `${name}`), tags and character references of HTML and XML, URLs, and e-mail addresses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

PLACEHOLDER = re.compile(
    r"""
    https?://[^\s<>"]*[^\s<>".,;:!?')\]]            # a URL, without the punctuation after it
    | \bwww\.[^\s<>"]*[^\s<>".,;:!?')\]]
    | (?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+      # an e-mail address
    | </?[A-Za-z][^<>\n]*> | <!--[^<>\n]*-->         # a tag, a comment
    | &(?:[A-Za-z]{2,}\d*|\#\d+|\#x[0-9A-Fa-f]+);      # a character reference
    | \$?\{\{[^{}\n]*\}\} | \$?\{[^{}\n]*\}         # {{name}}, {name}, ${name}
    | (?<![\d%])%(?:\(\w+\)|\d+\$)?[-+\#0]*\d*(?:\.\d+)?[sdiufFgGeExXcr@](?![^\W_])   # %s, %1$d, %(name)s
    """,
    re.VERBOSE,
)
"""Matches a part of a text that a translation must keep."""


def find_placeholders(text: str) -> list[str]:
    """Return all placeholders, tags and addresses in a text, in their order."""
    return [match.group() for match in PLACEHOLDER.finditer(text)]


def keeps_placeholders(output: str, placeholders: Sequence[str]) -> bool:
    """Return whether an output contains exactly these placeholders, each as often, in any order."""
    # Another language may have them in another order.
    return Counter(find_placeholders(output)) == Counter(placeholders)


def split_at_placeholders(text: str) -> list[tuple[str, bool]]:
    """Split a text into placeholders and the text between them; joined, the parts are the text again.

    Each part is a pair of its text and whether it is a placeholder. Empty parts are left out.
    """
    parts = []
    start = 0
    for match in PLACEHOLDER.finditer(text):
        parts.append((text[start : match.start()], False))
        parts.append((match.group(), True))
        start = match.end()
    parts.append((text[start:], False))
    return [(part, is_placeholder) for part, is_placeholder in parts if part]
