"""Entities in BIO, BIOES and BILOU tags: exact spans of words with their type, counted as CoNLL-2003's conlleval counts them.

B-X starts an entity of type X, and so does an I-X that does not follow one; anything else ends it.  Where the last word of an entity has
E-X, and a single one S-X, the same holds, and they end it.  A tag without a type, such as B, is one of an empty type.
"""

from __future__ import annotations

from collections.abc import Sequence

Span = tuple[int, int, str]
BILOU = {"L": "E", "U": "S"}
"""The last word of an entity, and one that is alone, as spaCy and AllenNLP write them."""


def entity_spans(tags: Sequence[str]) -> list[Span]:
    """(first word, word after the last, type) of each entity."""
    found: list[Span] = []
    start = 0
    kind: str | None = None
    for at, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        mark = BILOU.get(mark, mark)
        goes_on = mark in ("I", "E") and kind == name
        if kind is not None and not goes_on:
            found.append((start, at, kind))
            kind = None
        if mark in ("B", "I", "E", "S") and not goes_on:
            start, kind = at, name
        if mark in ("E", "S"):
            found.append((start, at + 1, name))
            kind = None
    return found


def entity_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Micro-averaged F1 of the spans of many sentences."""
    right = ours = theirs = 0
    for a, b in zip(gold, predicted, strict=True):
        wanted, found = set(entity_spans(a)), set(entity_spans(b))
        right, ours, theirs = right + len(wanted & found), ours + len(found), theirs + len(wanted)
    return 2 * right / (ours + theirs) if ours + theirs else 0.0


def split_sentences(lines: Sequence[str]) -> list[list[str]]:
    """The tags of CoNLL lines, sentence by sentence."""
    found: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            found[-1].append(line.split("\t")[-1].split(" ")[-1])
        elif found[-1]:
            found.append([])
    return found
