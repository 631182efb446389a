"""The stem of an English word (Porter 1980, "An algorithm for suffix stripping"), in five steps that take an ending off or change it.

    a consonant is a letter that is not a, e, i, o, u, nor a y after a consonant; C and V are runs of consonants and of vowels;
    a word is [C](VC)^m[V], and m is its measure.

A step obeys the rule of the longest ending that the word has, and no other: where that rule's condition on what stands before the ending
does not hold, nothing is done.  This is the algorithm as published, without what was changed in it later (abli, logi, short words).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_VOWELS = "aeiou"
_SECOND = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "abli": "able", "alli": "al", "entli": "ent",
    "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al", "iveness": "ive", "fulness": "ful",
    "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
}  # fmt: skip
_THIRD = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_FOURTH = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti", "ous", "ive", "ize",
)  # fmt: skip


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Of a word in lower case."""
    for step in (plural, past, final_y, second, third, fourth, final_e, double_l):
        word = step(word)
    return word


def shape(word: str) -> str:
    """`c` for each consonant, `v` for each vowel."""
    found = ""
    for letter in word:
        found += "v" if letter in _VOWELS or (letter == "y" and found.endswith("c")) else "c"
    return found


def measure(word: str) -> int:
    """How often a run of vowels is followed by consonants."""
    return len(re.findall("v+c", shape(word)))


def plural(word: str) -> str:
    """Step 1a: caresses, ponies, cats."""
    return _swapped(word, {"sses": "ss", "ies": "i", "ss": "ss", "s": ""}, -1)


def past(word: str) -> str:
    """Step 1b: agreed, plastered, motoring; and what such an ending has left behind: conflat(ed), hopp(ing), fil(ing)."""
    if word.endswith("eed"):
        return word[:-1] if measure(word[:-3]) > 0 else word
    ending = next((end for end in ("ed", "ing") if word.endswith(end)), "")
    left = word.removesuffix(ending)
    if not ending or "v" not in shape(left):
        return word
    if left.endswith(("at", "bl", "iz")):
        return left + "e"
    if _doubled(left) and not left.endswith(("l", "s", "z")):
        return left[:-1]
    return left + "e" if measure(left) == 1 and _short(left) else left


def final_y(word: str) -> str:
    """Step 1c: happy, but not sky."""
    return word[:-1] + "i" if word.endswith("y") and "v" in shape(word[:-1]) else word


def second(word: str) -> str:
    """Step 2: double endings to single ones, relational."""
    return _swapped(word, _SECOND, 0)


def third(word: str) -> str:
    """Step 3: electrical, hopeful, goodness."""
    return _swapped(word, _THIRD, 0)


def fourth(word: str) -> str:
    """Step 4: single endings off long words, revival; adoption only after s or t."""
    found = _swapped(word, dict.fromkeys(_FOURTH, ""), 1)
    return word if word == found + "ion" and not found.endswith(("s", "t")) else found


def final_e(word: str) -> str:
    """Step 5a: probate, cease, but not rate."""
    left = word.removesuffix("e")
    return left if measure(left) > 1 or (measure(left) == 1 and not _short(left)) else word


def double_l(word: str) -> str:
    """Step 5b: controll."""
    return word[:-1] if word.endswith("ll") and measure(word) > 1 else word


def _swapped(word: str, endings: Mapping[str, str], above: int) -> str:
    """The longest of the endings that the word has changed, if the measure of what stands before it is above a bound."""
    has = [ending for ending in endings if word.endswith(ending)]
    if not has:
        return word
    left = word.removesuffix(longest := max(has, key=len))
    return left + endings[longest] if measure(left) > above else word


def _doubled(word: str) -> bool:
    """Ends in the same consonant twice."""
    return word[-1:] == word[-2:-1] and shape(word).endswith("cc")


def _short(word: str) -> bool:
    """Ends in consonant, vowel, consonant, and the last is not w, x or y."""
    return shape(word).endswith("cvc") and word[-1] not in "wxy"
