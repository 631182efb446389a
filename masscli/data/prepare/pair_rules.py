"""Rules by which aligned lines are recognised as no translations of each other, from lengths and languages.

The rule about languages compares the two languages of the pair, and others of which there is text, by the
frequencies of character trigrams, as `masscli preprocess --filter-lang` does (see filters.py). The rules are
cheap; what they let pass may be judged by models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masscli.data.prepare.filters import MARGIN, MIN_TRIGRAMS, TRIGRAM_BUCKETS, hash_trigrams

Profile = NDArray[np.float32]
"""(TRIGRAM_BUCKETS,) log-probabilities of the hashed character trigrams of a language."""

KEPT = "kept"
EMPTY = "empty"
COPIED = "source and target are the same"
TOO_SHORT = "too short"
TOO_LONG = "too long"
RATIO = "lengths differ too much"
WRONG_SOURCE = "source in the wrong language"
WRONG_TARGET = "target in the wrong language"


@dataclass(frozen=True, slots=True)
class LengthRules:
    """Limits on the lengths of lines.

    `min_len` and `max_len` are in words; `max_ratio` is the largest ratio of the lengths of a pair, in
    characters.
    """

    min_len: int
    max_len: int
    max_ratio: float


def make_profile(lines: Iterable[str]) -> Profile:
    """Return the profile of the language of some lines.

    It holds the log of the smoothed frequency of each hashed character trigram.
    """
    counts = np.zeros(TRIGRAM_BUCKETS)
    for line in lines:
        counts += np.bincount(hash_trigrams(line), minlength=TRIGRAM_BUCKETS)
    # Add-one-half smoothing, so that an unseen trigram is not impossible.
    total = counts.sum() + 0.5 * TRIGRAM_BUCKETS
    profile: Profile = np.log((counts + 0.5) / total).astype(np.float32)
    return profile


def judge(
    source: str,
    target: str,
    lengths: LengthRules,
    profiles: Mapping[str, Profile] | None,
    langs: Sequence[str],
) -> str:
    """Return KEPT, or the constant of this module that describes the first rule that a pair breaks.

    `langs` are the source and the target language. `profiles` has a profile for each, and for any other
    languages that lines may be in by mistake; with None the languages of lines are not judged.
    """
    source, target = source.strip(), target.strip()
    if not source or not target:
        return EMPTY
    # A pair of equal lines teaches a model to copy.
    if source == target:
        return COPIED
    by_length = _judge_lengths(source, target, lengths)
    if by_length != KEPT or profiles is None:
        return by_length
    source_lang, target_lang = langs
    if _is_other_language(source, source_lang, profiles):
        return WRONG_SOURCE
    if _is_other_language(target, target_lang, profiles):
        return WRONG_TARGET
    return KEPT


def _judge_lengths(source: str, target: str, lengths: LengthRules) -> str:
    words = [len(source.split()), len(target.split())]
    if min(words) < lengths.min_len:
        return TOO_SHORT
    if max(words) > lengths.max_len:
        return TOO_LONG
    # Characters, since not every language has spaces between words.
    characters = sorted((len(source), len(target)))
    if characters[1] > lengths.max_ratio * characters[0]:
        return RATIO
    return KEPT


def _is_other_language(line: str, language: str, profiles: Mapping[str, Profile]) -> bool:
    """Return whether any other profile explains a line better than that of `language`, by more than MARGIN.

    A line with fewer than MIN_TRIGRAMS trigrams gives False.
    """
    trigrams = hash_trigrams(line)
    if len(trigrams) < MIN_TRIGRAMS:
        return False
    scores = {name: float(profile[trigrams].mean()) for name, profile in profiles.items()}
    return max(scores.values()) > scores[language] + MARGIN
