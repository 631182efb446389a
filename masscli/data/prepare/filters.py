"""Find training lines that are repeats, in the wrong language, or also in valid or test.

Before anything is encoded, `write_survey` reads the text that the chosen filters need, and stores up to three
things in `.partial` for the workers: hashes of all lines of valid and test; with --dedup, which training rows
repeat an earlier one (exactly, of the same pair or of the same language's monolingual text); and with
--filter-lang, profiles of the languages. A `Survey` then judges chunks, as a pure function of them. Hashes
are 64 bits of BLAKE2b of the stripped line.

The language filter does not identify languages in general. It knows only the languages of this data
folder, each by a profile of (a part of) its training text (see language_profiles.py), and drops a line
that is more likely under the profile of another language. Text that is mostly in the wrong language
makes the profile useless; short lines are never dropped.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masscli.data.prepare.array_files import read_arrays
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.language_profiles import is_other_language, make_profile
from masscli.data.prepare.text_groups import TextGroup
from masscli.data.storage.column_writer import ResumeError
from masscli.text import corpus
from masscli.text.corpus import FileScan

SURVEY_FILE = "survey.npz"
PROFILE_LINES = 20_000
"""Number of lines of each file, evenly spaced, from which the profile of its language is made. It may be up
to twice as many."""
HASHED_LINES = 1 << 16
"""Number of lines that are hashed together."""

Hashes = NDArray[np.uint64]
Bools = NDArray[np.bool_]
Arrays = dict[str, NDArray[Any]]


def needs_survey(config: PreprocessConfig, groups: Sequence[TextGroup]) -> bool:
    """Return whether `write_survey` must run before text is encoded.

    It must with --dedup, --drop-copies or --filter-lang, whose filters run only if there is a survey, or if
    there is validation or test text, since training lines that are in it are counted.
    """
    has_held_out = any(not group.is_training for group in groups)
    return config.dedup or config.drop_copies or config.filter_lang or has_held_out


def write_survey(
    groups: Sequence[TextGroup],
    scans: Mapping[Path, FileScan],
    config: PreprocessConfig,
    folder: Path,
) -> None:
    """Read the text and write into `folder` the file `survey.npz`, from which workers filter lines.

    It holds hashes of the lines of valid and test, with --dedup also which training lines are repeats, and
    with --filter-lang a profile of each language.
    """
    # Held-out lines are always searched for, since they are counted even if they are kept.
    arrays = _hash_held_out_lines(groups)
    if config.dedup:
        arrays |= _find_repeats(groups, config.pairs_as_mono)
    if config.filter_lang:
        arrays |= _make_profiles(groups, scans)
    np.savez(folder / SURVEY_FILE, **arrays)  # type: ignore[arg-type]  # numpy takes arrays by name


@dataclass(frozen=True, slots=True)
class Survey:
    """The contents of `survey.npz`, by which the lines of a chunk are judged.

    These are hashes of the lines of valid and test text, flags of repeated training lines (with --dedup), and
    profiles of trigrams of each language (with --filter-lang).
    """

    arrays: Arrays

    def is_held_out(self, language: str, lines: Sequence[str]) -> Bools:
        """Return (N,) whether each line is also a line of valid or test text in this language."""
        held_out = self.arrays.get(f"held:{language}")
        if held_out is None:
            return np.zeros(len(lines), np.bool_)
        return np.isin(hash_lines(lines), held_out)

    def is_repeated(self, unit_name: str, first_row: int, count: int) -> Bools:
        """Return (count,) whether each row of a pair or a monolingual text repeats an earlier one.

        The rows are those from `first_row` on. Without the option --dedup none counts as repeated.
        """
        repeated = self.arrays.get(f"repeat:{unit_name}")
        if repeated is None:
            return np.zeros(count, np.bool_)
        return repeated[first_row : first_row + count].astype(np.bool_)

    def is_other_language(self, language: str, lines: Sequence[str]) -> Bools:
        """Return (N,) whether each line is probably in another language of the folder than `language`."""
        result = np.zeros(len(lines), np.bool_)
        others = []
        for name, profile in self.arrays.items():
            if name.startswith("profile:") and name != f"profile:{language}":
                others.append(profile)
        if not others:
            return result
        profile = self.arrays[f"profile:{language}"]
        for row, line in enumerate(lines):
            result[row] = is_other_language(line, profile, others)
        return result


@functools.lru_cache(1)
def load_survey(folder: Path, key: str) -> Survey:
    """Return the survey stored in a folder; each process loads it once.

    `key` identifies the run that wrote it, and only serves the cache. Raises ResumeError if it is missing or
    damaged.
    """
    path = folder / SURVEY_FILE
    try:
        return Survey(read_arrays(path))
    except ValueError:
        raise ResumeError(path) from None


def hash_lines(lines: Sequence[str]) -> Hashes:
    """Return (N,) a 64-bit hash of each line, without the white space around it."""
    digests = [blake2b(line.strip().encode(), digest_size=8).digest() for line in lines]
    return np.frombuffer(b"".join(digests), "<u8")


def _hash_file(path: Path) -> Hashes:
    """Return (N,) a 64-bit hash of each of the N lines of a file, without the white space around it."""
    lines = corpus.iter_lines(path)
    blocks = []
    while block := list(islice(lines, HASHED_LINES)):
        blocks.append(hash_lines(block))
    # There is at least one block: scanning refuses an empty file.
    return np.concatenate(blocks)


def _hash_held_out_lines(groups: Sequence[TextGroup]) -> Arrays:
    """Return the sorted hashes of all lines of valid and test in each language, under `held:LANGUAGE`."""
    hashes: dict[str, list[Hashes]] = {}
    for group in groups:
        if group.is_training:
            continue
        for language, path in zip(group.languages, group.paths, strict=True):
            hashes.setdefault(language, []).append(_hash_file(path))
    arrays: Arrays = {}
    for language, parts in hashes.items():
        arrays[f"held:{language}"] = np.unique(np.concatenate(parts))
    return arrays


def _find_repeats(groups: Sequence[TextGroup], pairs_as_mono: bool) -> Arrays:
    """Return for each training pair and monolingual text which of its rows have the text of an earlier row.

    The keys are `repeat:NAME`. Monolingual files of a language are compared with each other, and, if
    `pairs_as_mono`, with the sides of pairs in that language.
    """
    repeats: Arrays = {}
    earlier: dict[str, Hashes] = {}
    training = [group for group in groups if group.is_training]
    # Pairs come first, so that monolingual text can be compared with them.
    for group in sorted(training, key=lambda group: not group.pairs):
        sides = [_hash_file(path) for path in group.paths]
        if not group.pairs:
            language = group.languages[0]
            before = earlier.get(language, np.zeros(0, np.uint64))
            both = np.concatenate([before, sides[0]])
            repeats[f"repeat:{group.name}"] = _is_repeat(both)[len(before) :]
            earlier[language] = np.unique(both)
            continue
        if pairs_as_mono:
            for language, side in zip(group.languages, sides, strict=True):
                before = earlier.get(language, np.zeros(0, np.uint64))
                earlier[language] = np.unique(np.concatenate([before, side]))
        for pair in group.pairs:
            first, second = pair
            # An odd factor, so that different pairs have equal sums only by chance.
            both = sides[first] * np.uint64(0x9E3779B97F4A7C15) + sides[second]
            repeats[f"repeat:{group.unit_name(pair)}"] = _is_repeat(both)
    return repeats


def _is_repeat(values: Hashes) -> Bools:
    """Return (N,) whether each value also occurs before itself."""
    # The indices that `np.unique` returns are those of the first occurrences.
    is_repeat = np.ones(len(values), np.bool_)
    is_repeat[np.unique(values, return_index=True)[1]] = False
    return is_repeat


def _make_profiles(
    groups: Sequence[TextGroup], scans: Mapping[Path, FileScan]
) -> Arrays:
    """Return the profile of each language of the training text, under the key `profile:LANGUAGE`."""
    samples: dict[str, list[Iterator[str]]] = {}
    for group in groups:
        if not group.is_training:
            continue
        for language, path in zip(group.languages, group.paths, strict=True):
            # Evenly spaced lines, since the beginning of a file may not be representative.
            step = max(1, scans[path].lines // PROFILE_LINES)
            samples.setdefault(language, []).append(
                islice(corpus.iter_lines(path), 0, None, step)
            )
    profiles: Arrays = {}
    for language, lines in samples.items():
        profiles[f"profile:{language}"] = make_profile(chain.from_iterable(lines))
    return profiles
