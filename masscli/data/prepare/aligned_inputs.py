"""Find the aligned files of language pairs by their prefixes, such as those of --trainpref."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from masscli.core.config import split_at_commas
from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.input_errors import comma_hint
from masscli.data.prepare.requested_inputs import RequestedFiles
from masscli.text.corpus import SUFFIXES, is_compressed, missing_file_hint


@dataclass(frozen=True, slots=True)
class Prefix:
    """The common beginning of the paths of the aligned files of a split; `.LANG` follows it."""

    split: str
    path: Path


def find_prefixes(config: PreprocessConfig) -> list[Prefix]:
    """Return a prefix of aligned files for each split.

    The first prefix of --validpref is for the split valid and the second for valid1, as in fairseq; likewise
    test.
    """
    options = {
        "train": config.trainpref,
        "valid": config.validpref,
        "test": config.testpref,
    }
    prefixes = []
    for split, value in options.items():
        if not value:
            continue
        # Only held-out text may have several prefixes.
        names = [str(value)] if split == "train" else split_at_commas(str(value))
        for number, name in enumerate(names):
            path = Path(name)
            # There would be nothing before the dot: `.`, `/`, or what follows the last comma of `valid,`.
            if not path.name:
                raise MasscliError(
                    f"--{split}pref {value}: {str(path)!r} is not a prefix of files",
                    "the files of data/train are data/train.LANG",
                )
            prefixes.append(Prefix(f"{split}{number or ''}", path))
    return prefixes


def find_pairs(
    config: PreprocessConfig,
    languages: Sequence[str],
    prefixes: Sequence[Prefix],
    mono_languages: set[str],
) -> list[tuple[str, str]]:
    """Return the pairs in --pairs, or else the first language with every other one that has aligned files.

    Raises MasscliError if aligned files are expected and missing, unless both languages have monolingual
    text.
    """
    if config.pairs:
        named = [_parse_pair(name, languages) for name in config.pairs]
        for first, second in named:
            # Its text would be stored, and trained on, twice.
            if (second, first) in named:
                raise MasscliError(
                    f"--pairs: {first}-{second} and {second}-{first} are the same pair",
                    "name it once; it serves both directions",
                )
        return named
    pairs = []
    # By default the first language is the one that all others are aligned with.
    first = languages[0]
    for other in languages[1:]:
        if any(_pair_files(prefix.path, first, other) for prefix in prefixes):
            pairs.append((first, other))
        elif prefixes and not {first, other} <= mono_languages:
            # Neither aligned nor monolingual text: a file is missing.
            path = prefixes[0].path
            missing = other
            if _find_file(path, first) is None and first not in mono_languages:
                missing = first
            raise _missing_file(path, missing)
    return pairs


def _parse_pair(name: str, languages: Sequence[str]) -> tuple[str, str]:
    """Return the two languages of a pair, which is written like en-de.

    Raises MasscliError if one of them is not among `languages`, or if they are the same.
    """
    first, _, second = name.partition("-")
    for language in (first, second):
        if language not in languages:
            raise MasscliError(
                f"--pairs {name}: {language!r} is not among the languages ({', '.join(languages)})",
                "a pair looks like en-de",
            )
    if first == second:
        raise MasscliError(f"--pairs {name}: a pair needs two languages")
    return first, second


def files_of_pairs(
    prefix: Prefix, pairs: Sequence[tuple[str, str]], mono_languages: set[str]
) -> list[RequestedFiles]:
    """Return the aligned files of each pair under a prefix.

    A training pair is left out if each language without a file has monolingual text. Any other missing file
    raises MasscliError.
    """
    requested = []
    for first, second in pairs:
        files = _pair_files(prefix.path, first, second)
        if files:
            requested.append(RequestedFiles(prefix.split, (first, second), files))
            continue
        # A pair with only monolingual text may be meant for unsupervised translation.
        missing = []
        for language in (first, second):
            if _find_file(prefix.path, language) is None:
                missing.append(language)
        if prefix.split != "train" or not mono_languages.issuperset(missing):
            raise _missing_file(prefix.path, missing[0])
    return requested


def files_outside_pairs(
    prefix: Prefix, pairs: Sequence[tuple[str, str]], languages: Sequence[str]
) -> list[RequestedFiles]:
    """Return the files under a prefix of languages that are in no pair, as monolingual text.

    Raises MasscliError if there is only one language, and it has no file.
    """
    requested = []
    for language in languages:
        if any(language in pair for pair in pairs):
            continue
        path = _find_file(prefix.path, language)
        if path:
            requested.append(RequestedFiles(prefix.split, (language,), (path,)))
        elif len(languages) == 1:
            raise _missing_file(prefix.path, language)
    return requested


def passed_over(requested: Sequence[RequestedFiles]) -> tuple[Path, ...]:
    """Return other forms of files found by their prefix that exist next to them.

    A form is plain or compressed text; that which comes first in SUFFIXES is read.
    """
    others = []
    for path in dict.fromkeys(path for files in requested for path in files.paths):
        plain = path.with_suffix("") if is_compressed(path) else path
        for suffix in SUFFIXES:
            form = plain.with_name(plain.name + suffix)
            if form != path and form.is_file():
                others.append(form)
    return tuple(others)


def _pair_files(prefix: Path, first: str, second: str) -> tuple[Path, Path] | None:
    """Return the files of both languages: PREFIX.SRC-TGT.LANG in either order of SRC and TGT, or PREFIX.LANG.

    Returns None if there is no such pair of files.
    """
    # Files made for this pair come before those that several pairs share.
    for middle in (f"{first}-{second}.", f"{second}-{first}.", ""):
        first_file = _find_file(prefix, middle + first)
        second_file = _find_file(prefix, middle + second)
        if first_file and second_file:
            return first_file, second_file
    return None


def _find_file(prefix: Path, ending: str) -> Path | None:
    """Return PREFIX.ENDING, or its compressed form (.gz, .xz, .zst), or None if there is neither."""
    for suffix in SUFFIXES:
        path = prefix.with_name(f"{prefix.name}.{ending}{suffix}")
        if path.is_file():
            return path
    return None


def _missing_file(prefix: Path, language: str) -> MasscliError:
    """Return the error that a file of aligned text is missing; the caller raises it."""
    path = prefix.with_name(f"{prefix.name}.{language}")
    if path.exists():
        kind = "a folder" if path.is_dir() else "a pipe or a device"
        return MasscliError(
            f"{path}: is {kind}, but text is read more than once from files",
            "files are named PREFIX.LANG; write the text of a pipe to one first",
        )
    return MasscliError(
        f"{path}: no such file (nor .gz, .xz, .zst)",
        comma_hint(prefix) or f"files are named PREFIX.LANG; {missing_file_hint(path)}",
    )
