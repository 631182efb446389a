"""What `preprocess` finds wrong with training lines besides their length: repeats, copies, the wrong language, lines of valid and test.

`survey` reads all text once, before anything is encoded, and leaves three things in `.partial` for the workers: which training rows repeat
an earlier one (exactly, of the same pair or of the same language's monolingual text), digests of all lines of valid and test, and profiles
of the languages.  What follows is a pure function of a chunk.  Digests are 64 bits of BLAKE2b of the stripped line.

The language filter is no general identifier: it knows the languages of this data folder alone, each by the frequencies of the character
trigrams in (a part of) its own training text, and drops a line that another of them explains better by `MARGIN` nats a trigram.  Text that
is mostly in the wrong language spoils it; short lines are never dropped.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.inputs import Part
from masscli.text import corpus
from masscli.text.corpus import FileScan

NAME = "survey.npz"
BUCKETS = 1 << 16
"""Trigrams are hashed into so many."""
PROFILE_LINES = 20_000
"""Lines of each language that its profile is made of, evenly spaced."""
SHORTEST = 20
"""Trigrams below which a line's language is not judged."""
MARGIN = 0.3
Digests = NDArray[np.uint64]
Bools = NDArray[np.bool_]


def needed(config: PreprocessConfig, parts: Sequence[Part]) -> bool:
    """Whether there is anything to survey."""
    return (
        config.dedup or config.drop_copies or config.filter_lang or any(not part.training for part in parts)
    )


def survey(
    parts: Sequence[Part], scans: Mapping[Path, FileScan], config: PreprocessConfig, folder: Path
) -> None:
    """Read all text, write `survey.npz`."""
    found: dict[str, NDArray[np.generic]] = {}
    kept_out: dict[str, list[Digests]] = {}
    for part in (p for p in parts if not p.training):
        for language, path in zip(part.languages, part.paths, strict=True):
            kept_out.setdefault(language, []).extend(digests(block) for block in _blocks(path))
    for language, several in kept_out.items():
        found[f"held:{language}"] = np.unique(np.concatenate(several))
    if config.dedup:
        found |= _repeats(parts, config.pairs_as_mono)
    if config.filter_lang:
        found |= _profiles(parts, scans)
    np.savez(folder / NAME, **found)  # type: ignore[arg-type]  # numpy takes arrays by name


def digests(lines: Sequence[str]) -> Digests:
    """Of each line."""
    raw = b"".join(blake2b(line.strip().encode(), digest_size=8).digest() for line in lines)
    return np.frombuffer(raw, "<u8")


def _blocks(path: Path) -> Iterator[list[str]]:
    first, offset = 1, 0
    for block in corpus.iter_blocks(path):
        lines = corpus.split_lines(
            corpus.decode_utf8(block, path, first, offset).removeprefix("\ufeff" if offset == 0 else "\0")
        )
        yield lines
        first, offset = first + len(lines), offset + len(block)


def _repeats(parts: Sequence[Part], pairs_as_mono: bool) -> dict[str, NDArray[np.generic]]:
    """Rows of each training part, or of each pair in it, whose text an earlier row has.

    Monolingual parts of a language go together, after the sides of pairs in it where these are monolingual text, too.
    """
    found: dict[str, NDArray[np.generic]] = {}
    before: dict[str, Digests] = {}
    for part in sorted((p for p in parts if p.training), key=lambda p: not p.pairs):
        sides = [np.concatenate([digests(block) for block in _blocks(path)]) for path in part.paths]
        for language, side in zip(part.languages, sides, strict=True):
            if part.pairs and pairs_as_mono:
                before[language] = np.unique(np.concatenate([before.get(language, side[:0]), side]))
        if not part.pairs:
            language, earlier = part.languages[0], before.get(part.languages[0], np.zeros(0, np.uint64))
            both = np.concatenate([earlier, sides[0]])
            found[f"repeat:{part.name}"] = _again(both)[len(earlier) :]
            before[language] = np.unique(both)
        for a, b in part.pairs:
            found[f"repeat:{part.account((a, b))}"] = _again(
                sides[a] * np.uint64(0x9E3779B97F4A7C15) + sides[b]
            )
    return found


def _again(values: Digests) -> Bools:
    """Which values stand earlier, too."""
    again = np.ones(len(values), np.bool_)
    again[np.unique(values, return_index=True)[1]] = False
    return again


def _profiles(parts: Sequence[Part], scans: Mapping[Path, FileScan]) -> dict[str, NDArray[np.generic]]:
    counts: dict[str, NDArray[np.float64]] = {}
    for part in (p for p in parts if p.training):
        for language, path in zip(part.languages, part.paths, strict=True):
            own = counts.setdefault(language, np.zeros(BUCKETS))
            step, row = max(1, scans[path].lines // PROFILE_LINES), 0
            for block in _blocks(path):
                for line in block[-row % step :: step]:
                    own += np.bincount(trigrams(line), minlength=BUCKETS)
                row += len(block)
    return {
        f"profile:{name}": np.log((own + 0.5) / (own.sum() + 0.5 * BUCKETS)).astype("<f4")
        for name, own in counts.items()
    }


def trigrams(line: str) -> NDArray[np.int64]:
    """Hashes of the character trigrams of a line, lower-cased, with a blank at each end."""
    points = np.frombuffer(f" {line.strip().lower()} ".encode("utf-32-le"), "<u4").astype(np.int64)
    return (points[:-2] * 40_503 + points[1:-1] * 2_239 + points[2:] * 31) % BUCKETS


@functools.lru_cache(1)
def _survey(folder: Path, key: str) -> dict[str, NDArray[np.generic]]:
    """What `survey` has left; read once by each process (`key`: of which run)."""
    with np.load(folder / NAME, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def held_out(folder: Path, key: str, language: str, lines: Sequence[str]) -> Bools:
    """Which lines are lines of valid or test, too."""
    known = _survey(folder, key).get(f"held:{language}")
    return np.zeros(len(lines), np.bool_) if known is None else np.isin(digests(lines), known)


def repeated(folder: Path, key: str, account: str, first: int, count: int) -> Bools:
    """Which of `count` rows from `first` of a training part (or pair) repeat an earlier one."""
    rows = _survey(folder, key).get(f"repeat:{account}")
    return np.zeros(count, np.bool_) if rows is None else rows[first : first + count].astype(np.bool_)


def foreign(folder: Path, key: str, language: str, lines: Sequence[str]) -> Bools:
    """Which lines another language of the folder explains better."""
    profiles = {
        name.removeprefix("profile:"): p
        for name, p in _survey(folder, key).items()
        if name.startswith("profile:")
    }
    if len(profiles) < 2:
        return np.zeros(len(lines), np.bool_)
    own, others = profiles[language], [p for name, p in profiles.items() if name != language]
    found = np.zeros(len(lines), np.bool_)
    for row, line in enumerate(lines):
        hashes = trigrams(line)
        if len(hashes) >= SHORTEST:
            found[row] = max(float(p[hashes].mean()) for p in others) > float(own[hashes].mean()) + MARGIN
    return found
