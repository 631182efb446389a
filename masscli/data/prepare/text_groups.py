"""Groups of aligned files, which are read line by line together.

Pairs that share a file (such as the English one of en-de and en-fr) form one group, so that each side is
encoded and stored once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.data.prepare.requested_inputs import RequestedFiles, RequestedInputs
from masscli.text.corpus import FileScan

Sides = tuple[int, ...]
"""Indices of sides (files) of a group: both sides of a pair, or the only side of monolingual text."""


@dataclass(frozen=True, slots=True)
class TextGroup:
    """Aligned files of a split, one for each language; each file is a side of the group.

    `pairs` holds the indices of the two sides of each pair. It is empty for monolingual text, which has one
    file. `name`, such as train.en-de, begins the names of the columns of its sides.
    """

    name: str
    split: str
    languages: tuple[str, ...]
    paths: tuple[Path, ...]
    pairs: tuple[tuple[int, int], ...]

    @property
    def is_training(self) -> bool:
        """Whether this is text of the split train, the only one whose lines may be dropped."""
        return self.split == "train"

    @property
    def units(self) -> tuple[Sides, ...]:
        """The sides whose lines are kept or dropped together: both of each pair, or the only one."""
        return self.pairs or ((0,),)

    def unit_name(self, sides: Sides) -> str:
        """Return the name of a pair, such as `train.en-de`, or of monolingual text, in statistics."""
        if not self.pairs:
            return self.name
        languages = [self.languages[side] for side in sides]
        return f"{self.split}.{'-'.join(languages)}"

    def column(self, side: int) -> str:
        """Return the name of the column that stores the token ids of a side."""
        if not self.pairs:
            return self.name
        return f"{self.name}.{self.languages[side]}"

    def original_column(self, side: int) -> str:
        """Return the name of the column that keeps the lines of a side before any preprocessing."""
        return f"{self.column(side)}.raw"

    def rows_column(self, pair: Sides, side: int) -> str:
        """Return the name of the column of numbers of those rows of a side that belong to a pair."""
        return f"{self.unit_name(pair)}.rows.{self.languages[side]}"

    def column_kinds(self) -> dict[str, str]:
        """Return the kind (ids, text or int) of each column of the group, by its name."""
        kinds = {}
        for side in range(len(self.languages)):
            kinds[self.column(side)] = "ids"
        if not self.is_training:
            for side in range(len(self.languages)):
                kinds[self.original_column(side)] = "text"
        elif len(self.pairs) > 1:
            # One pair keeps the same rows of both sides; several pairs must say which rows are theirs.
            for pair in self.pairs:
                for side in pair:
                    kinds[self.rows_column(pair, side)] = "int"
        return kinds


@dataclass
class _Draft:
    """A group to which more pairs may still be added; `files` has a file for each language."""

    split: str
    files: dict[str, Path]
    pairs: list[tuple[str, str]] = field(default_factory=list)


def group_files(
    inputs: RequestedInputs, scans: Mapping[Path, FileScan]
) -> tuple[TextGroup, ...]:
    """Return the groups of the input text, training groups first.

    Pairs that share a file, or files of the same content, are put into one group. Raises MasscliError if the
    files of a pair do not have the same number of lines.
    """
    drafts: list[_Draft] = []
    for requested in inputs.text:
        files = dict(zip(requested.languages, requested.paths, strict=True))
        if len(requested.languages) == 1:
            drafts.append(_Draft(requested.split, files))
            continue
        first, second = requested.languages
        _check_same_length(scans[files[first]], scans[files[second]])
        draft = _matching_draft(drafts, requested, files, scans)
        if draft is None:
            draft = _Draft(requested.split, dict(files))
            drafts.append(draft)
        for language, path in files.items():
            draft.files.setdefault(language, path)
        draft.pairs.append((first, second))
    groups: list[TextGroup] = []
    for draft in sorted(drafts, key=lambda draft: draft.split != "train"):
        # The order of the options is the order of the columns, whichever pair came first.
        languages = sorted(draft.files, key=inputs.languages.index)
        paths = [draft.files[language] for language in languages]
        pairs = []
        for first, second in draft.pairs:
            pairs.append((languages.index(first), languages.index(second)))
        # Groups of the same languages, whose files differ, need different names.
        taken = [group.name for group in groups]
        name = _unused_name(f"{draft.split}.{'-'.join(languages)}", taken)
        groups.append(
            TextGroup(name, draft.split, tuple(languages), tuple(paths), tuple(pairs))
        )
    return tuple(groups)


def identical_sides(
    groups: Sequence[TextGroup], scans: Mapping[Path, FileScan]
) -> list[tuple[Path, Path]]:
    """Return all pairs of files within a group that have the same content, almost always an error."""
    identical = []
    for group in groups:
        for first, second in combinations(group.paths, 2):
            if scans[first].sha256 == scans[second].sha256:
                identical.append((first, second))
    return identical


def repeated_texts(
    groups: Sequence[TextGroup], scans: Mapping[Path, FileScan], pairs_as_mono: bool
) -> list[tuple[Path, Path, str]]:
    """Return (path, path, language) of files that are learned from twice as monolingual text of a language.

    Both paths may be the same. With `pairs_as_mono`, the sides of training pairs are such text, too.
    """
    seen: dict[tuple[str, str], Path] = {}
    repeated = []
    for group in groups:
        if not group.is_training or (group.pairs and not pairs_as_mono):
            continue
        for language, path in zip(group.languages, group.paths, strict=True):
            key = (language, scans[path].sha256)
            if key in seen:
                repeated.append((seen[key], path, language))
            seen.setdefault(key, path)
    return repeated


def _matching_draft(
    drafts: Sequence[_Draft],
    requested: RequestedFiles,
    files: Mapping[str, Path],
    scans: Mapping[Path, FileScan],
) -> _Draft | None:
    """Return the draft of the same split to which the pair `requested` can be added, or None.

    Draft and pair must share a language, and have the same text in all shared ones. `files` are the files of
    the pair by language.
    """
    for draft in drafts:
        if (
            draft.split == requested.split
            and draft.pairs
            and _shares_text(draft, files, scans)
        ):
            return draft
    return None


def _shares_text(
    draft: _Draft, files: Mapping[str, Path], scans: Mapping[Path, FileScan]
) -> bool:
    """Return whether a draft and a new pair share a language, and have the same text in all shared ones.

    `files` are the files of the new pair by language.
    """
    has_shared_language = False
    for language, path in files.items():
        if language not in draft.files:
            continue
        # Files under different names count as shared if their contents are the same.
        if scans[draft.files[language]].sha256 != scans[path].sha256:
            return False
        has_shared_language = True
    return has_shared_language


def _check_same_length(first: FileScan, second: FileScan) -> None:
    """Raise MasscliError if two files, the sides of a pair, do not have the same number of lines."""
    if first.lines == second.lines:
        return
    shorter = min(first, second, key=lambda scan: scan.lines)
    raise MasscliError(
        f"{first.path} has {count_of(first.lines, 'line')}, {second.path} has {second.lines}:"
        " the sides of a pair must be aligned",
        f"{shorter.path} ends at line {shorter.lines}; lines end at \\n only",
    )


def _unused_name(name: str, taken: Sequence[str]) -> str:
    """Return `name`, or the first of `name.2`, `name.3`, ... that is not in `taken` if it is taken."""
    candidate = name
    number = 2
    while candidate in taken:
        candidate = f"{name}.{number}"
        number += 1
    return candidate
