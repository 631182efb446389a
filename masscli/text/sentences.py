"""Split running text into sentences, so that nothing but white space lies between them.

The rules are those of Moses' split-sentences.perl (Koehn, Europarl tools): a sentence ends at a full stop,
question mark or exclamation mark, with closing quotes behind it, if white space and a capital letter follow;
not at a full stop after an abbreviation, of which Moses has a list for each language, or after an initial.
Chinese and Japanese sentences end at their own marks, without white space.
"""

from __future__ import annotations

import functools
import re

CLOSERS = "\"'”’»«)\\]」』）】"
OPENERS = "\"'“‘„‚«»([¿¡「『（【"

# A run of marks is tried once, as a whole, or a long one would take time in proportion to its square.
# French sets its closing quote off with a space.
_BOUNDARY = re.compile(
    rf"(?<![.!?…؟۔।])(?P<mark>[.!?…؟۔।]++)(?:[{CLOSERS}]|[ \xa0\u202f]»)*(?P<space>\s+)"
    rf"|[。！？｡]+[{CLOSERS}]*(?P<wide>\s*)"
)
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
"""A letter, or letters with full stops between them, as in `U.S`."""
_FOLLOWING = re.compile(rf"(?:«[ \xa0\u202f]|[{re.escape(OPENERS)}])*(.?)", re.DOTALL)
_NO_WORD = re.compile(rf"[\s{CLOSERS}{re.escape(OPENERS)}]")
LONGEST_ABBREVIATION = 40
"""In characters; a longer word before a full stop is not looked up."""


def split_sentences(text: str, language: str) -> list[str]:
    """Return the sentences of a text, each with the white space behind it; joined they are the text."""
    sentences = []
    start = 0
    for match in _BOUNDARY.finditer(text):
        if match.end() < len(text) and _ends_sentence(text, match, language):
            sentences.append(text[start : match.end()])
            start = match.end()
    if start < len(text):
        sentences.append(text[start:])
    return sentences


def _ends_sentence(text: str, match: re.Match[str], language: str) -> bool:
    """Return whether a sentence ends at a mark and the next one begins behind it."""
    if match["wide"] is not None:
        return True
    following = _first_letter(text, match.end())
    is_stop = match["mark"] == "."
    # Letters of scripts without case may begin a sentence as capitals do.
    begins = following.isalpha() and not following.islower()
    if not begins and not (is_stop and following.isdigit()):
        return False
    if not is_stop:
        return True
    before = text[max(0, match.start() - LONGEST_ABBREVIATION) : match.start()]
    word = _NO_WORD.split(before)[-1]
    always, before_numbers = _abbreviations(language)
    if word in always or (_INITIALS.fullmatch(word) and word[0].isupper()):
        return False
    return not (word in before_numbers and following.isdigit())


def _first_letter(text: str, start: int) -> str:
    """Return the first character from `start` on that opens no quote or bracket; none at the end."""
    match = _FOLLOWING.match(text, start)
    assert match is not None
    return match[1]


@functools.cache
def _abbreviations(language: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return Moses' abbreviations: those that never end a sentence, and those that do not before a number.

    Languages for which Moses has no list get the English one, as in Moses.
    """
    # Imported here, because it is slow and most commands do not need it.
    from sacremoses.corpus import NonbreakingPrefixes

    prefixes = NonbreakingPrefixes()
    if language not in prefixes.available_langs.values():
        language = "en"
    always, before_numbers = set(), set()
    for line in prefixes.words(language):
        word, _, remark = line.partition(" ")
        if "#NUMERIC_ONLY#" in remark:
            before_numbers.add(word)
        else:
            always.add(word)
    return frozenset(always), frozenset(before_numbers)
