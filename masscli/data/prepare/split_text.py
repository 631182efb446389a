"""Warn about training text that another program has already split into pieces.

`preprocess` splits words itself. Pieces such as `Sch@@ ut@@ z` would be words to it, and the model would
generate them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from masscli.data.prepare.chunks import sample_lines
from masscli.text.corpus import FileScan, display_path
from masscli.text.tokenizer import Tokenizer

MARKED_PIECES = {
    r"\S+@@(?= )": "sed 's/@@ //g'",
    r"(?<= )##\w+": "sed 's/ ##//g'",
    r"\u2581\S+": "sed 's/ //g; s/\u2581/ /g'",
}
"""Patterns of the pieces that subword-nmt and fastBPE, WordPiece, and SentencePiece write, with a command
that joins pieces to words."""
WORTH_SAYING = 0.5
"""Share of lines with such a piece above which there is a warning."""


def split_text_warnings(
    files: Mapping[str, Sequence[FileScan]], given: Tokenizer | None
) -> list[str]:
    """Return a warning for each language in which more than WORTH_SAYING of the lines have marked pieces.

    `files` are the training files of each language, of which a sample of lines is read. `given` is the
    vocabulary, or None if it was trained on these files. There is no warning if it is one for text that is
    split beforehand, such as a dictionary of fairseq without its BPE codes.
    """
    warnings = []
    for language, scans in files.items():
        lines = sample_lines(scans)
        for pattern, command in MARKED_PIECES.items():
            found = [match[0] for line in lines if (match := re.search(pattern, line))]
            if len(found) <= WORTH_SAYING * len(lines):
                continue
            if given is not None and _keeps_words(given, lines, language):
                continue
            warnings.append(
                f"{display_path(scans[0].path)}: {len(found)} of {len(lines)} sampled lines have pieces of "
                f"words, such as {found[0]!r}, which are split again: give whole words ({command})"
            )
    return warnings


def _keeps_words(tokenizer: Tokenizer, lines: Sequence[str], language: str) -> bool:
    """Return whether a vocabulary has one piece for each word of some lines, known or not."""
    pieces = sum(map(len, tokenizer.encode_lines(lines, language)))
    return pieces <= sum(len(line.split()) for line in lines)
