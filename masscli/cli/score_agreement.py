"""Check that hypotheses and references of `masscli score` belong together: lines, words, kinds of choices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product

from masscli.cli.score_columns import ScoreInput, Sentences
from masscli.core.digits import parse_number
from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.data.formats.multiple_choice import choice_index

CHOICE = re.compile(r"[0-9]+|[A-Z]")
"""Matches a choice as it is written in data: a number from 0, or a letter from A."""


def check_lengths(
    hypotheses: Sequence[ScoreInput], references: Sequence[ScoreInput]
) -> None:
    """Raise MasscliError unless hypotheses and references have the same number of lines.

    Tagged sentences must also have the same number of words. An empty hypothesis file is also refused.
    """
    for ours, theirs in product(hypotheses, references):
        if not ours.lines:
            raise MasscliError(f"{ours.name}: is empty", "there is nothing to score")
        if ours.sentences is not None and theirs.sentences is not None:
            _check_sentences(ours.name, ours.sentences, theirs.name, theirs.sentences)
        if len(ours.lines) != len(theirs.lines):
            hint = "line n of one is scored against line n of the other"
            if len(theirs.lines) == len(ours.lines) + 1 and "\t" in theirs.lines[0]:
                hint = "is that a table with a header? name its column: --column label"
            lines = count_of(len(ours.lines), "line")
            raise MasscliError(
                f"{ours.name} has {lines}, but {theirs.name} has {len(theirs.lines):,}",
                hint,
            )


def _check_sentences(name: str, ours: Sentences, other: str, theirs: Sentences) -> None:
    """Raise MasscliError unless the files `name` and `other` have the same number of sentences and words."""
    # The first sentence that differs says more than the numbers of sentences, which are compared last.
    for number, (our_words, their_words) in enumerate(
        zip(ours, theirs, strict=False), 1
    ):
        if len(our_words) != len(their_words):
            place = f"{name}:{our_words[0][0]}" if our_words else name
            raise MasscliError(
                f"{place}: {count_of(len(our_words), 'word')} in sentence {number}, "
                f"but {len(their_words)} in {other}",
                "tags are compared word by word: predictions and references must be of the same sentences",
            )
    if len(ours) != len(theirs):
        raise MasscliError(
            f"{name} and {other}: {len(ours)} and {len(theirs)} sentences",
            "sentence n of one is scored against sentence n of the other",
        )


def check_numbers(files: Mapping[str, Sequence[str]]) -> None:
    """Raise MasscliError for the first line of `files`, by their names, that is not a finite number."""
    for name, lines in files.items():
        for number, line in enumerate(lines, 1):
            if parse_number(line) is None:
                raise MasscliError(
                    f"{name}: example {number} is not a number: {line[:40]!r}",
                    "a correlation needs one for each example",
                )


def check_references(references: Sequence[ScoreInput]) -> Iterator[str]:
    """Yield a warning for each two references that are the same text."""
    for first, second in combinations(references, 2):
        if first.lines == second.lines:
            yield f"{first.name} and {second.name} are the same text, which counts as two references"


def check_inputs(
    hypotheses: Sequence[ScoreInput], references: Sequence[ScoreInput]
) -> Iterator[str]:
    """Yield warnings about inputs that were probably meant differently.

    These are lines of JSON that are compared as they are, tagged sentences whose words differ from the
    reference's, and choices that are numbers on one side and letters on the other.
    """
    for flag, inputs in (("--hyp-column", hypotheses), ("--column", references)):
        for one in inputs:
            if one.raw_json:
                yield f"{one.name}: its lines are JSON and are compared as they are; {flag} reads a field"
    for ours, theirs in product(hypotheses, references):
        different = _count_different_words(ours, theirs)
        if different:
            words = sum(len(sentence) for sentence in ours.sentences or [])
            yield f"{ours.name}: {different} of {words} words are not those of {theirs.name}"
        if _are_choices(references) and _has_letters(ours) != _has_letters(theirs):
            yield (
                f"{ours.name} and {theirs.name}: numbers of choices from 0 and letters from A "
                "are the same labels"
            )


def _count_different_words(ours: ScoreInput, theirs: ScoreInput) -> int:
    """Return how many words differ between two tagged inputs; 0 if one has only a column of tags.

    It is not known which column holds the words, so the two columns that agree best are compared.
    """
    differences = []
    for our_column, their_column in product(
        _other_columns(ours), _other_columns(theirs)
    ):
        different = 0
        for our_word, their_word in zip(our_column, their_column, strict=True):
            different += our_word != their_word
        differences.append(different)
    return min(differences, default=0)


def _other_columns(tagged: ScoreInput) -> list[list[str]]:
    """Return the columns of a tagged input, over all sentences, except the column of the tags."""
    rows = []
    for sentence in tagged.sentences or []:
        rows += [columns for _, columns in sentence]
    others = []
    for position, column in enumerate(zip(*rows, strict=True)):
        if position != tagged.column:
            others.append(list(column))
    return others


def as_choices(
    hypotheses: Sequence[ScoreInput], references: Sequence[ScoreInput]
) -> tuple[Sequence[ScoreInput], Sequence[ScoreInput]]:
    """Return (hypotheses, references) with choices as numbers from 0, if the references are choices.

    Otherwise both are returned unchanged. Raises MasscliError for a line that is none of the choices.
    """
    if not _are_choices(references):
        return hypotheses, references
    # All references have the same numbers of choices.
    first = references[0]
    numbered_hypotheses = [_numbered(one, first) for one in hypotheses]
    numbered_references = [_numbered(one, first) for one in references]
    return numbered_hypotheses, numbered_references


def _are_choices(references: Sequence[ScoreInput]) -> bool:
    """Return whether the lines of all references are choices: numbers or letters, with known counts."""
    counts = references[0].choices
    if counts is None:
        return False
    for reference in references:
        if reference.choices != counts or not all(
            CHOICE.fullmatch(line) for line in reference.lines
        ):
            return False
    return True


def _has_letters(one: ScoreInput) -> bool:
    """Return whether choices are written as letters in any line."""
    return any(line.strip().isalpha() for line in one.lines)


def _numbered(one: ScoreInput, reference: ScoreInput) -> ScoreInput:
    """Return an input whose lines are choices, numbers from 0 or letters from A, with all of them as numbers.

    `reference` has the number of choices of each line. Raises MasscliError for a line that is none of them.
    """
    lines = []
    for number, (line, count) in enumerate(
        zip(one.lines, reference.choices or [], strict=True), 1
    ):
        index = choice_index(line.strip(), count)
        if index is None:
            raise MasscliError(
                f"{one.name}:{number}: {line[:40]!r} is none of the {count} choices in {reference.name}",
                "it must be a number from 0, or a letter from A",
            )
        lines.append(str(index))
    return ScoreInput(one.name, lines)
