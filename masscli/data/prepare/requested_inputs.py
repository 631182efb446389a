"""The input files that the options of `masscli preprocess` name, before any is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from masscli.data.formats.registry import input_files

STDIN = Path("-")
"""The path of standard input."""


@dataclass(frozen=True, slots=True)
class RequestedFiles:
    """Text files of a split to be read together: two for a language pair, one for monolingual text."""

    split: str
    languages: tuple[str, ...]
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class LabeledFile:
    """The labeled examples of one split of a table: a path and its format."""

    table: str
    split: str
    format: str
    path: Path

    @property
    def files(self) -> list[Path]:
        """The files that the path stands for; a folder of RACE, for example, has several."""
        return input_files(self.path, self.format)


@dataclass(frozen=True, slots=True)
class RequestedInputs:
    """All input files that the options name, with the languages and pairs; no file has been read yet.

    `table_language` is the language of all tables. `passed_over` are files that are not read, since another
    form of them is: train.en.gz next to train.en.
    """

    languages: tuple[str, ...]
    pairs: tuple[str, ...]
    text: tuple[RequestedFiles, ...]
    tables: tuple[LabeledFile, ...] = ()
    table_language: str = ""
    passed_over: tuple[Path, ...] = ()
