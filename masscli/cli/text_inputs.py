"""Warn of inputs that are read as lines of text although their names say that they hold something else."""

from __future__ import annotations

import sys
from pathlib import Path

from masscli.data.formats.registry import read_as_text


def warn_of_examples(*paths: Path | None, advice: str = "") -> None:
    """Print a warning, with `advice` at its end, for each path whose name is that of labeled examples.

    A path that is None, the value of an option that was not given, is left out.
    """
    for path in paths:
        remark = None if path is None else read_as_text(path)
        if remark is not None:
            print(f"warning: {remark}{advice}", file=sys.stderr)
