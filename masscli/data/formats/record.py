"""The labeled example that every file format is read into.

A record has named fields. The objective that reads a field determines what it means (text, label,
number). A reader only checks that every example has the expected fields, and its error names the line
that does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Record:
    """One labeled example of a file, with its fields by name.

    `line` is the line at which the example starts; in SQuAD it is the number of the question in the file, and
    in RACE that within its article.
    """

    line: int
    texts: Mapping[str, str] = field(default_factory=dict)
    """Fields that hold one string."""
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Fields that hold a list of strings: words, choices, turns of a dialogue, answers."""
    numbers: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Fields that hold a list of whole numbers, such as the starts of answers."""
    shared: Mapping[str, str] = field(default_factory=dict)
    """Fields with a long text that consecutive examples have in common, such as a paragraph with
    several questions. The text is tokenized by white-space-separated words, and the character offsets
    of every piece are stored."""
