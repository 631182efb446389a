"""Notice inputs that were probably not meant: labeled examples as text, and text in the place of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.data.formats.registry import read_as_text


def warn_of_examples(*paths: Path | None, advice: str = "") -> None:
    """Print a warning, with `advice` at its end, for each path whose name is that of labeled examples.

    A path that is None, the value of an option that was not given, is left out.
    """
    for path in paths:
        remark = None if path is None else read_as_text(path)
        if remark is not None:
            print(f"warning: {remark}{advice}", file=sys.stderr)


def refuse_text_as_run(paths: Iterable[Path]) -> None:
    """Raise MasscliError for a path that is a file of text, for a command that reads text with --input."""
    for path in paths:
        if not path.is_file():
            continue
        # Only now, since most paths are folders, and this imports torch.
        from masscli.checkpoint.checkpoint import FOREIGN_SUFFIXES

        # Opening a model of another program gives an error of its own.
        if path.suffix not in FOREIGN_SUFFIXES:
            raise MasscliError(
                f"{path}: is a file, expected the folder of a run or of a checkpoint",
                f"give text with --input {path} or on standard input",
            )
