"""Rules that detect, by length and language, aligned lines that are not translations of each other.

The language rule compares the two languages of the pair, and any others for which text is given, by the
frequencies of character trigrams, as `masscli preprocess --filter-lang` does (see
language_profiles.py). The rules are cheap; the remaining pairs may be scored by models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from masscli.data.prepare.language_profiles import Profile, is_other_language

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
    """Return TOO_SHORT, TOO_LONG or RATIO, the first of these rules that a pair of lines breaks, or KEPT."""
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


def _is_other_language(
    line: str, language: str, profiles: Mapping[str, Profile]
) -> bool:
    """Return whether a line is probably in another language of `profiles` than `language`."""
    others = [profile for name, profile in profiles.items() if name != language]
    return is_other_language(line, profiles[language], others)
