"""Split running text into sentences, without losing or changing a character.

The rules are those of Moses' split-sentences.perl (Koehn, Europarl tools): a sentence ends at a full
stop, question mark or exclamation mark and any closing quotes after it, if white space follows and then
a capital letter, a letter of a script without capitals or, after a full stop, a digit. It does not end
at a full stop after an initial, or after an abbreviation; Moses has a list of these for each language,
and some apply only before a number. Punctuation marks of other scripts also end sentences; those of
Chinese and Japanese need no white space after them.
"""

from __future__ import annotations

import functools
import re

CLOSERS = "\"'”’»«)\\]」』）】"
OPENERS = "\"'“‘„‚«»([¿¡「『（【"

# A run of marks is tried once, as a whole; otherwise the time for a long one would be quadratic. French
# sets its closing quote off with a space.
_BOUNDARY = re.compile(
    rf"(?<![.!?…؟۔।])(?P<mark>[.!?…؟۔।]++)(?:[{CLOSERS}]|[ \xa0\u202f]»)*(?P<space>\s+)"
    rf"|[。！？｡]+[{CLOSERS}]*(?P<wide>\s*)"
)
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
"""Matches one letter, or letters with full stops between them, as in `U.S`."""
_FOLLOWING = re.compile(rf"(?:«[ \xa0\u202f]|[{re.escape(OPENERS)}])*(.?)", re.DOTALL)
_NO_WORD = re.compile(rf"[\s{CLOSERS}{re.escape(OPENERS)}]")
LONGEST_ABBREVIATION = 40
"""The number of characters before a full stop that are searched for an abbreviation."""


def split_sentences(text: str, language: str) -> list[str]:
    """Return the sentences of a text, each with the white space after it; joined, they are the text again."""
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
    """Return whether a sentence ends at the mark that `match`, a match of _BOUNDARY in `text`, has found."""
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
    """Return the first character at or after `start` that does not open a quotation or bracket.

    It is the empty string if the text ends before.
    """
    match = _FOLLOWING.match(text, start)
    assert match is not None
    return match[1]


@functools.cache
def _abbreviations(language: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return two sets of Moses' abbreviations: those that never end a sentence, and those before numbers.

    The latter do not end a sentence if a number follows, such as `No`. They are the English ones if Moses has
    no list for the language.
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
