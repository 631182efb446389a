"""Stem English words with Porter's algorithm and the rules that NLTK added.

The algorithm is that of Porter (1980), "An algorithm for suffix stripping".

The `rouge-score` package stems with NLTK in its default mode, and so do papers that report ROUGE with
stemming.

The algorithm removes or changes an ending in five steps. A vowel is a, e, i, o, u, or y after a
consonant. With C and V for runs of consonants and of vowels, a word is [C](VC)^m[V], and m is its
measure. In each step only the rule of the longest ending counts: if its condition on the stem, which is
the part before the ending, does not hold, nothing is done.

NLTK departs from the paper as follows:

- some irregular words have a stem of their own, and words of two letters or fewer are left as they are
- step 1a, 1b: `ies` and `ied` become `ie` in words of four letters, and `ied` becomes `i` in others
- step 1c: `y` becomes `i` only after a consonant that is not the first letter (happy, not say or by)
- step 2: `bli` becomes `ble`, `logi` becomes `log`, `fulli` becomes `ful`; after `alli` the step is repeated
- a stem that is a vowel and a consonant counts as short (step 1b and 5a: ad, ag)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_IRREGULAR = {
    "skies": "sky",
    "sky": "sky",
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "news": "news",
    "innings": "inning",
    "inning": "inning",
    "outings": "outing",
    "outing": "outing",
    "cannings": "canning",
    "canning": "canning",
    "howe": "howe",
    "proceed": "proceed",
    "exceed": "exceed",
    "succeed": "succeed",
}
"""Words with irregular stems in NLTK, and these stems."""
_STEP_2 = {
    "ational": "ate",
    "tional": "tion",
    "enci": "ence",
    "anci": "ance",
    "izer": "ize",
    "bli": "ble",
    "alli": "al",
    "fulli": "ful",
    "entli": "ent",
    "eli": "e",
    "ousli": "ous",
    "ization": "ize",
    "ation": "ate",
    "ator": "ate",
    "alism": "al",
    "iveness": "ive",
    "fulness": "ful",
    "ousness": "ous",
    "aliti": "al",
    "iviti": "ive",
    "biliti": "ble",
    "logi": "log",
}
"""The endings that step 2 replaces, and their replacements."""
_STEP_3 = {
    "icate": "ic",
    "ative": "",
    "alize": "al",
    "iciti": "ic",
    "ical": "ic",
    "ful": "",
    "ness": "",
}
"""The endings that step 3 replaces, and their replacements."""
_STEP_4 = (
    "al",
    "ance",
    "ence",
    "er",
    "ic",
    "able",
    "ible",
    "ant",
    "ement",
    "ment",
    "ent",
    "ion",
    "ou",
    "ism",
    "ate",
    "iti",
    "ous",
    "ive",
    "ize",
)
"""The endings that step 4 removes."""


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Return the Porter stem of an English word, which must be in lower case."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 2:
        return word
    steps = (step_1a, step_1b, step_1c, step_2, step_3, step_4, step_5a, step_5b)
    for step in steps:
        word = step(word)
    return word


def letter_types(word: str) -> str:
    """Return a string with `c` for each consonant and `v` for each vowel of a word.

    A y counts as a vowel after a consonant.
    """
    types = ""
    for letter in word:
        is_vowel = letter in "aeiou" or (letter == "y" and types.endswith("c"))
        types += "v" if is_vowel else "c"
    return types


def measure(word: str) -> int:
    """Return Porter's measure m of a word: how many runs of vowels are followed by consonants."""
    return len(re.findall("v+c", letter_types(word)))


def step_1a(word: str) -> str:
    """Return the word without the ending of a plural: caresses to caress, ponies to poni, cats to cat."""
    # NLTK's addition: `ties` becomes `tie`.
    if word.endswith("ies") and len(word) == 4:
        return word[:-1]
    return _replace_ending(
        word, {"sses": "ss", "ies": "i", "ss": "ss", "s": ""}, min_measure=0
    )


def step_1b(word: str) -> str:
    """Return the word without the ending of a past tense or participle: agreed to agree, sized to size."""
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        if word.endswith(ending):
            rest = word.removesuffix(ending)
            # Only an ending after a vowel is one: `sing` and `bed` stay.
            return _repair(rest) if "v" in letter_types(rest) else word
    return word


def _repair(rest: str) -> str:
    """Restore the end of a word of which step 1b has removed `ed` or `ing`.

    Examples are conflat to conflate, hopp to hop, fil to file.
    """
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    # Words such as fall, hiss and fizz end in a double letter themselves.
    if _ends_doubled(rest):
        return rest if rest.endswith(("l", "s", "z")) else rest[:-1]
    # A short stem has lost an e: filing was file.
    if measure(rest) == 1 and _is_short(rest):
        return rest + "e"
    return rest


def step_1c(word: str) -> str:
    """Return the word with a final y after a consonant changed to i (happy to happi), but not say or by."""
    if word.endswith("y") and len(word) > 2 and letter_types(word[:-1]).endswith("c"):
        return word[:-1] + "i"
    return word


def step_2(word: str) -> str:
    """Return the word with a double ending reduced to a single one: relational to relate."""
    if word.endswith("logi"):
        # Here the condition is on the part before `ogi`.
        return word[:-1] if measure(word[:-3]) > 0 else word
    if word.endswith("alli") and measure(word[:-4]) > 0:
        # NLTK's addition: `alli` becomes `al`, and the result may end in another suffix.
        return step_2(word[:-2])
    return _replace_ending(word, _STEP_2, min_measure=1)


def step_3(word: str) -> str:
    """Return the word without its ending or with a shorter one: electrical to electric, goodness to good."""
    return _replace_ending(word, _STEP_3, min_measure=1)


def step_4(word: str) -> str:
    """Return the word without its ending, if it is long: revival to reviv.

    The measure of the part before the ending must be above 1. The ending `ion` is removed only after s
    or t: adoption to adopt.
    """
    shorter = _replace_ending(word, dict.fromkeys(_STEP_4, ""), min_measure=2)
    if word == shorter + "ion" and not shorter.endswith(("s", "t")):
        return word
    return shorter


def step_5a(word: str) -> str:
    """Return the word without a final e: probate to probat, cease to ceas, but rate stays."""
    rest = word.removesuffix("e")
    if measure(rest) > 1 or (measure(rest) == 1 and not _is_short(rest)):
        return rest
    return word


def step_5b(word: str) -> str:
    """Return the word with ll at the end of a long word reduced to l: controll to control, not roll."""
    if word.endswith("ll") and measure(word) > 1:
        return word[:-1]
    return word


def _replace_ending(word: str, endings: Mapping[str, str], min_measure: int) -> str:
    """Return the word with its ending replaced, if the condition on its stem holds.

    `endings` maps endings to their replacements; the longest one that the word has decides. The
    condition is that the measure of the part before the ending is at least `min_measure`. If it does
    not hold, or if the word has none of the endings, the word is returned unchanged.
    """
    matches = [ending for ending in endings if word.endswith(ending)]
    if not matches:
        return word
    # Porter's rule: the longest ending decides, even if its condition fails and that of a shorter one would
    # not.
    longest = max(matches, key=len)
    rest = word.removesuffix(longest)
    if measure(rest) < min_measure:
        return word
    return rest + endings[longest]


def _ends_doubled(word: str) -> bool:
    """Return whether a word ends in the same consonant twice, such as hopp."""
    return word[-1:] == word[-2:-1] and letter_types(word).endswith("c")


def _is_short(word: str) -> bool:
    """Return whether a word ends in consonant, vowel, consonant, or is a vowel and a consonant only.

    In the first case the last consonant must not be w, x or y.
    """
    types = letter_types(word)
    if types == "vc":
        return True
    return types.endswith("cvc") and word[-1] not in "wxy"
