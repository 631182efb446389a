"""Stem English words with Porter's algorithm and the rules that NLTK added.

The algorithm is that of Porter (1980), "An algorithm for suffix stripping".

The `rouge-score` package stems with NLTK in its default mode, and so do papers that report ROUGE with
stemming.

The algorithm removes or changes an ending in five steps. A vowel is a, e, i, o, u, or y after a consonant.
With C and V for runs of consonants and of vowels, a word is [C](VC)^m[V], and m is its measure. In each step
only the rule of the longest ending counts: if its condition on the stem, which is what stands before the
ending, does not hold, nothing is done.

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
_STEP_3 = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_STEP_4 = (
    *("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou"),
    *("ism", "ate", "iti", "ous", "ive", "ize"),
)


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Return the stem of a word in lower case."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 2:
        return word
    steps = (step_1a, step_1b, step_1c, step_2, step_3, step_4, step_5a, step_5b)
    for step in steps:
        word = step(word)
    return word


def letter_types(word: str) -> str:
    """Return `c` for each consonant and `v` for each vowel of a word."""
    types = ""
    for letter in word:
        is_vowel = letter in "aeiou" or (letter == "y" and types.endswith("c"))
        types += "v" if is_vowel else "c"
    return types


def measure(word: str) -> int:
    """Return how many runs of vowels are followed by consonants."""
    return len(re.findall("v+c", letter_types(word)))


def step_1a(word: str) -> str:
    """Remove the ending of a plural: caresses, ponies, cats."""
    # NLTK's addition: `ties` becomes `tie`.
    if word.endswith("ies") and len(word) == 4:
        return word[:-1]
    return _replace_ending(word, {"sses": "ss", "ies": "i", "ss": "ss", "s": ""}, min_measure=0)


def step_1b(word: str) -> str:
    """Remove the ending of a past tense or a participle: agreed, plastered, motoring."""
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
    """Restore what step 1b has left to a word: conflat(ed), hopp(ing), fil(ing)."""
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    if _ends_doubled(rest):
        return rest if rest.endswith(("l", "s", "z")) else rest[:-1]
    if measure(rest) == 1 and _is_short(rest):
        return rest + "e"
    return rest


def step_1c(word: str) -> str:
    """Change a final y after a consonant: happy, but not say."""
    if word.endswith("y") and len(word) > 2 and letter_types(word[:-1]).endswith("c"):
        return word[:-1] + "i"
    return word


def step_2(word: str) -> str:
    """Reduce a double ending to a single one: relational."""
    if word.endswith("logi"):
        # Here the condition is on what stands before `ogi`.
        return word[:-1] if measure(word[:-3]) > 0 else word
    if word.endswith("alli") and measure(word[:-4]) > 0:
        # NLTK's addition: `alli` becomes `al`, and the result may end in another suffix.
        return step_2(word[:-2])
    return _replace_ending(word, _STEP_2, min_measure=1)


def step_3(word: str) -> str:
    """Remove or shorten endings such as those of electrical, hopeful, goodness."""
    return _replace_ending(word, _STEP_3, min_measure=1)


def step_4(word: str) -> str:
    """Remove the ending of a long word: revival; `ion` only after s or t: adoption."""
    shorter = _replace_ending(word, dict.fromkeys(_STEP_4, ""), min_measure=2)
    if word == shorter + "ion" and not shorter.endswith(("s", "t")):
        return word
    return shorter


def step_5a(word: str) -> str:
    """Remove a final e: probate, cease, but not that of rate."""
    rest = word.removesuffix("e")
    if measure(rest) > 1 or (measure(rest) == 1 and not _is_short(rest)):
        return rest
    return word


def step_5b(word: str) -> str:
    """Reduce a final ll: controll."""
    if word.endswith("ll") and measure(word) > 1:
        return word[:-1]
    return word


def _replace_ending(word: str, endings: Mapping[str, str], min_measure: int) -> str:
    """Replace the longest of the endings that the word has, if the measure of its stem is large enough."""
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
    """Return whether a word ends in the same consonant twice."""
    return word[-1:] == word[-2:-1] and letter_types(word).endswith("c")


def _is_short(word: str) -> bool:
    """Return whether a word is a vowel and a consonant, or ends in consonant, vowel, consonant.

    In the second case the last consonant must not be w, x or y.
    """
    types = letter_types(word)
    if types == "vc":
        return True
    return types.endswith("cvc") and word[-1] not in "wxy"
