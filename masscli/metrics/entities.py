"""Named entities in BIO, BIOES, BILOU and BMES tags, compared by exact spans as conlleval does (CoNLL-2003).

B-X starts an entity of type X, and so does an I-X that does not continue one of type X; any other tag, such
as O, ends the entity. In BIOES the last word of an entity has E-X, and a single word S-X; both end the
entity. BILOU has L and U in their place, and BMES has M in the place of I. A tag without a type, such as B,
has an empty type.
"""

from __future__ import annotations

from collections.abc import Sequence

Span = tuple[int, int, str]
"""An entity: the number of its first word, that of its last word plus one, and its type."""
IN_BIOES = {
    "B": "B",
    "I": "I",
    "E": "E",
    "S": "S",
    "L": "E",
    "U": "S",
    "M": "I",
    "W": "S",
}
"""The prefixes of tags that mark entities, each with the prefix of BIOES that means the same. spaCy and
AllenNLP use BILOU; Chinese data are often in BMES, or in BMEWO with W for a single word."""


def marks_entity(tag: str) -> bool:
    """Return whether a tag is one of a word in an entity with a type, such as B-PER."""
    prefix, hyphen, _ = tag.partition("-")
    return bool(hyphen) and prefix in IN_BIOES


def entity_spans(tags: Sequence[str]) -> list[Span]:
    """Return the entities of a sentence, which is given as the tag of each word."""
    spans: list[Span] = []
    start = 0
    open_type: str | None = None
    # A tag outside of entities at the end closes the last entity.
    for position, tag in enumerate([*tags, "O"]):
        prefix, _, entity_type = tag.partition("-")
        # The schemes differ in names only.
        prefix = IN_BIOES.get(prefix, prefix)
        continues = prefix in ("I", "E") and open_type == entity_type
        # The entity before this word ends here.
        if open_type is not None and not continues:
            spans.append((start, position, open_type))
            open_type = None
        if prefix in ("B", "I", "E", "S") and not continues:
            start = position
            open_type = entity_type
        # An entity that this word itself ends.
        if prefix in ("E", "S"):
            spans.append((start, position + 1, entity_type))
            open_type = None
    return spans


def entity_f1(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> float:
    """Return micro-averaged F1 of entities, from 0 to 1; an entity is right if span and type are equal.

    Both sides have a list of tags for each sentence. F1 is 0 if neither side has an entity.
    """
    correct = total = 0
    for gold_tags, predicted_tags in zip(gold, predicted, strict=True):
        gold_spans = set(entity_spans(gold_tags))
        predicted_spans = set(entity_spans(predicted_tags))
        correct += len(gold_spans & predicted_spans)
        total += len(gold_spans) + len(predicted_spans)
    if total == 0:
        return 0.0
    return 2 * correct / total


def split_sentences(lines: Sequence[str]) -> list[list[str]]:
    """Return a list of tags for each sentence of CoNLL lines.

    The tag of a line is the last of its columns, which tabs or spaces separate. Blank lines end a sentence;
    the last list may be empty.
    """
    sentences: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            sentences[-1].append(line.split("\t")[-1].split(" ")[-1])
        elif sentences[-1]:
            sentences.append([])
    return sentences
