"""Warn about lines that change under Moses tokenization and detokenization.

A sample of lines from the beginning of each language's training text is tried. Generated text is
detokenized, so a line that changes can never be generated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from masscli.data.prepare.chunks import sample_lines
from masscli.text.corpus import FileScan
from masscli.text.preprocessing import TextPreprocessing

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
        lines = sample_lines(scans)
        changed = []
        for line in lines:
            # Changes by the other options are requested by the user, so they are expected.
            expected = " ".join(without_tokens.apply([line], language)[0].split())
            again = preprocessing.undo(
                preprocessing.apply([line], language)[0], language
            )
            if again != expected:
                changed.append((expected, again))
        if len(changed) > WORTH_SAYING * len(lines):
            before, after = _difference(*changed[0])
            warnings.append(
                f"--moses: {len(changed)} of {len(lines)} sampled lines of {language} do not come back from "
                f"tokenization as they were, such as {before!r} as {after!r}: so they cannot be generated"
            )
    return warnings


def _difference(before: str, after: str) -> tuple[str, str]:
    """Return the characters around the first difference of two lines, from each of them."""
    place = 0
    while place < min(len(before), len(after)) and before[place] == after[place]:
        place += 1
    start = max(0, place - SHOWN_LETTERS)
    return before[start : place + SHOWN_LETTERS], after[start : place + SHOWN_LETTERS]
