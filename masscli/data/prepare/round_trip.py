"""Warn about lines that change under Moses tokenization, or in a SentencePiece vocabulary, and back.

A sample of lines from the beginning of each language's training text is tried. A line that changes can never
be generated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from masscli.data.prepare.chunks import sample_lines
from masscli.text.corpus import FileScan
from masscli.text.model_kinds import (
    NUMBERED_SENTENCEPIECE,
    SENTENCEPIECE,
    TRAINED_BPE,
)
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer

KINDS_WITH_NORMALIZATION = (TRAINED_BPE, SENTENCEPIECE, NUMBERED_SENTENCEPIECE)
"""The kinds of subword models that are SentencePiece models, which may replace characters."""

WORTH_SAYING = 0.01
"""Share of changed lines above which there is a warning."""
SHOWN_LETTERS = 12
"""Number of characters shown before and after the beginning of a difference."""


def round_trip_warnings(
    files: Mapping[str, Sequence[FileScan]], preprocessing: TextPreprocessing
) -> list[str]:
    """Return a warning for each language in which more than the share WORTH_SAYING of the lines is changed.

    A line is changed if tokenization by `preprocessing` and its inverse do not give the same line
    again. Lower case, normalization and replaced letters, which the user asked for, do not count as
    changes. `files` are the training files of each language.
    """
    warnings = []
    without_tokens = replace(preprocessing, moses=False)
    for language, scans in files.items():
        lines = []
        for line in sample_lines(scans):
            # Changes by the other options are requested by the user, so they are expected.
            expected = " ".join(without_tokens.apply([line], language)[0].split())
            again = preprocessing.undo(
                preprocessing.apply([line], language)[0], language
            )
            lines.append((expected, again))
        changes = _describe_changes(lines, language, "tokenization")
        if changes is not None:
            warnings.append(f"--moses: {changes}: so they cannot be generated")
    return warnings


def normalization_warnings(
    files: Mapping[str, Sequence[FileScan]], tokenizer: Tokenizer
) -> list[str]:
    """Return a warning for each language of which SentencePiece changes more than the share WORTH_SAYING.

    A SentencePiece model may replace characters by others, in most cases by the rules of Unicode's NFKC: an
    ellipsis becomes three full stops, and a zero-width non-joiner, which Persian has within words, a space.
    Lines with unknown pieces, which are counted elsewhere, are left out. Other kinds of vocabularies give no
    warning. `files` are the training files of each language.
    """
    if tokenizer.base_kind not in KINDS_WITH_NORMALIZATION:
        return []
    preprocessing = tokenizer.preprocessing
    warnings = []
    for language, scans in files.items():
        originals = sample_lines(scans)
        encoded = tokenizer.encode_lines(originals, language)
        lines = []
        for line, ids in zip(originals, encoded, strict=True):
            # What tokenization changes is no fault of the vocabulary.
            prepared = preprocessing.undo(
                preprocessing.apply([line], language)[0], language
            )
            expected = " ".join(prepared.split())
            again = tokenizer.decode(ids, language)
            if tokenizer.vocab.unk in ids:
                again = expected
            lines.append((expected, again))
        changes = _describe_changes(lines, language, "the vocabulary")
        if changes is not None:
            warnings.append(
                f"{changes}: SentencePiece replaces such characters, so that they cannot be generated"
            )
    return warnings


def _describe_changes(
    lines: Sequence[tuple[str, str]], language: str, step: str
) -> str | None:
    """Return how many lines a step of preprocessing has changed, with an example, as a clause of a warning.

    Each of `lines` is the line before the step, and what the step and its inverse make of it. Returns None if
    no more than the share WORTH_SAYING has changed.
    """
    changed = [(before, after) for before, after in lines if before != after]
    if len(changed) <= WORTH_SAYING * len(lines):
        return None
    before, after = _difference(*changed[0])
    return (
        f"{len(changed)} of {len(lines)} sampled lines of {language} do not come back from {step} as they "
        f"were, such as {before!r} as {after!r}"
    )


def _difference(before: str, after: str) -> tuple[str, str]:
    """Return the characters around the first difference of two lines, from each of them."""
    place = 0
    while place < min(len(before), len(after)) and before[place] == after[place]:
        place += 1
    start = max(0, place - SHOWN_LETTERS)
    return before[start : place + SHOWN_LETTERS], after[start : place + SHOWN_LETTERS]
