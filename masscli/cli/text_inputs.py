"""Notice inputs that were probably not meant: examples as text, text as a run, and unknown languages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from masscli.cli.messages import warn
from masscli.core.errors import MasscliError
from masscli.data.formats.registry import read_as_text

if TYPE_CHECKING:
    from masscli.checkpoint.checkpoint import Checkpoint


def warn_of_examples(*paths: Path | None, advice: str = "") -> None:
    """Print a warning, with `advice` at its end, for each path whose name is that of labeled examples.

    A path that is None, the value of an option that was not given, is left out.
    """
    for path in paths:
        remark = None if path is None else read_as_text(path)
        if remark is not None:
            warn(f"{remark}{advice}")


def warn_of_untrained(
    path: Path, checkpoint: Checkpoint, languages: Iterable[str]
) -> None:
    """Print a warning if a run has never been trained on text of one of `languages`, which it is to read.

    `path` is the run or checkpoint as the user named it.
    """
    from masscli.api.trained_languages import untrained_languages

    untrained = untrained_languages(checkpoint, languages)
    if untrained:
        warn(f"{path}: was never trained on text of {' or '.join(untrained)}")


def refuse_text_as_run(paths: Iterable[Path]) -> None:
    """Raise MasscliError for a path that is a file of text, for a command that reads text with --input."""
    for path in paths:
        if not path.is_file():
            continue
        # Only now, since most paths are folders, and this imports torch.
        from masscli.checkpoint.find_checkpoint import FOREIGN_SUFFIXES

        # Opening a model of another program gives an error of its own.
        if path.suffix not in FOREIGN_SUFFIXES:
            raise MasscliError(
                f"{path}: is a file, expected the folder of a run or of a checkpoint",
                f"name that folder, or give text with --input {path} or on standard input",
            )
