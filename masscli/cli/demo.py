"""Write sample text in four languages, to try masscli.

Simple sentences in English, French, German and Romanian (en, fr, de, ro), drawn from short word lists.
FOLDER gets 100 parallel pairs to train on (train.LANG), 100 to validate on (valid.LANG), 200 to test on
(test.LANG), all four languages aligned line by line, and 3,500 lines of monolingual text for each
language (mono.LANG.txt). No sentence occurs in two of the files of a language, and no line of one
monolingual file translates a line of another. Existing files with other contents are not replaced.

Examples:
  masscli demo sample
  masscli preprocess --langs en,ro --trainpref sample/train --validpref sample/valid --vocab-size 800 \\
                     --mono en=sample/mono.en.txt --mono ro=sample/mono.ro.txt --destdir data-bin/sample
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from masscli.text.demo import write


def run(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Folder for the files; created if needed."
        ),
    ],
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed for the choice of sentences.")
    ] = 1,
) -> None:
    """Write the sample files and name them on standard error."""
    paths = write(folder, seed)
    print(f"{folder}: {', '.join(path.name for path in paths)}", file=sys.stderr)
