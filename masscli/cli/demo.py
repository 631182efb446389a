"""Write the built-in sample text: four languages, a few pairs.

Everyday sentences in English, French, German and Romanian (en, fr, de, ro), made from a small phrasebook. FOLDER gets 400 parallel
pairs to train on (train.LANG), 100 to validate on (valid.LANG), 200 to test on (test.LANG), all four languages aligned line by line, and
3,500 lines of monolingual text for each language (mono.LANG.txt). No sentence is in two of the parts, and no line of one monolingual
file translates a line of another. Files that are there already and hold something else are not replaced.

Examples:
  masscli demo sample
  masscli preprocess --langs en,ro --trainpref sample/train --validpref sample/valid --testpref sample/test \\
                     --mono en=sample/mono.en.txt --mono ro=sample/mono.ro.txt --vocab-size 1000 --destdir data-bin/sample
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from masscli.data.prepare.config import DemoConfig
from masscli.text.demo import write


def run(
    options: DemoConfig,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where the files go; made if it is not there.")
    ],
) -> None:
    """Write the files and say which."""
    paths = write(folder, options.seed)
    print(f"{folder}: {', '.join(path.name for path in paths)}", file=sys.stderr)
