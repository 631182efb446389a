"""Flag translations that are probably wrong, by plain rules that need no reference.

empty            the output is empty, but the source has letters or digits
looping          the most frequent sequence of four words occurs n times, that of the source m times, and n is
                 at least m + 2: the rule of Raunak et al. 2021 (The Curious Case of Hallucinations), with the
                 values of Guerreiro et al. 2023 (Looking for a Needle in a Haystack)
copied           the output is the source, apart from case and punctuation, though the languages differ;
                 sources of a single word are not flagged
wrong-language   most letters are of a script in which the target language is not written, or there are more
                 frequent short words of another language of the model than of the right one, by two at least
                 (Grefenstette 1995, Comparing Two Language Identification Schemes)
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

LOOP_SIZE = 4
"""The number of words in the sequences whose repetition is counted."""
LOOP_EXCESS = 2
"""An output is looping if its most frequent sequence occurs at least this many times more than that of the
source."""
COPIED_WORDS = 2
"""Minimum number of words of a source that can count as copied; one word is often the same in two
languages."""
WRONG_WORDS = 2
"""An output is in a wrong language if it has at least this many more short words of that language than of the
right one."""

SHORT_WORDS = {
    "cs": "a je se na že to v s z do by jsem jako ale jsou který pro tak když nebo",
    "da": "og er det en at af på ikke med den til som der et jeg har de var fra skal",
    "de": "der die und das ist nicht ein eine zu mit den auf sich dem des ich für von wird im",
    "en": "the of and to is that it was for with as his on be at by this are not a in he from",
    "es": "el los las y que un una es del por para con no se su lo como más está en la de",
    "fi": "ja on ei se että oli hän mutta ovat joka kun niin kuin sen myös tai olla minä",
    "fr": "le les des et est une que dans pas pour qui sur au il avec ce sont du la de un",
    "hu": "a az és hogy nem egy van is ez meg volt de csak már mint azt vagy még ki el",
    "it": "il di che è e la un una per non con sono del della le gli ma nel più anche",
    "nl": "de het een en van is dat niet op te zijn met voor die aan er ook als maar wordt",
    "pl": "w i nie się na jest że z do to jak ale co od po tak za przez był są",
    "pt": "o os que e do da em um uma para é com não por mais as dos ao se na",
    "ro": "și în de la cu nu pe este un o că din mai sunt care pentru se au al ale",
    "sv": "och är att det en som på av inte med den till för ett jag har om de var från",
}
"""The most frequent short words of some languages, with spaces between them."""

SCRIPTS = {
    "ar": "ARABIC", "be": "CYRILLIC", "bg": "CYRILLIC", "bn": "BENGALI", "el": "GREEK", "fa": "ARABIC",
    "gu": "GUJARATI", "he": "HEBREW", "hi": "DEVANAGARI", "hy": "ARMENIAN", "ja": "CJK HIRAGANA KATAKANA",
    "ka": "GEORGIAN", "kk": "CYRILLIC", "km": "KHMER", "kn": "KANNADA", "ko": "HANGUL", "lo": "LAO",
    "mk": "CYRILLIC", "ml": "MALAYALAM", "mr": "DEVANAGARI", "my": "MYANMAR", "ne": "DEVANAGARI",
    "pa": "GURMUKHI", "ru": "CYRILLIC", "si": "SINHALA", "sr": "CYRILLIC LATIN", "ta": "TAMIL",
    "te": "TELUGU", "th": "THAI", "uk": "CYRILLIC", "ur": "ARABIC", "yue": "CJK", "zh": "CJK",
}  # fmt: skip
"""The names in Unicode of the scripts of languages that are not, or not only, written in Latin letters."""

LATIN_LANGUAGES = frozenset(SHORT_WORDS) | {
    "et",
    "ga",
    "is",
    "lt",
    "lv",
    "sk",
    "sl",
    "tr",
    "vi",
    "id",
    "hr",
}
"""Languages that are known to be written in Latin letters. For languages in neither this set nor SCRIPTS,
scripts are not checked."""


def output_flags(
    source: str,
    output: str,
    source_language: str,
    target_language: str,
    languages: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return the names of the rules by which a translation is probably wrong, or none.

    They are `empty`, `looping`, `copied` and `wrong-language`. `languages` are those that the model knows;
    only their short words are searched for in the output.
    """
    if not output.strip():
        has_content = any(letter.isalnum() for letter in source)
        return ("empty",) if has_content else ()
    flags = []
    if _most_repeated(output) - _most_repeated(source) >= LOOP_EXCESS:
        flags.append("looping")
    if source_language != target_language:
        # Case and punctuation do not make a copy a translation.
        if len(source.split()) >= COPIED_WORDS and _bare_words(source) == _bare_words(
            output
        ):
            flags.append("copied")
        elif _in_other_script(output, target_language) or _in_other_language(
            output, target_language, languages
        ):
            flags.append("wrong-language")
    return tuple(flags)


def _most_repeated(text: str) -> int:
    """Return how often the most frequent sequence of LOOP_SIZE words occurs in a text."""
    words = text.lower().split()
    sequences: Counter[tuple[str, ...]] = Counter()
    for start in range(len(words) - LOOP_SIZE + 1):
        sequences[tuple(words[start : start + LOOP_SIZE])] += 1
    return max(sequences.values(), default=0)


def _bare_words(text: str) -> list[str]:
    """Return the words of a text in lower case, where only letters and digits belong to words."""
    letters = [letter if letter.isalnum() else " " for letter in text.lower()]
    return "".join(letters).split()


def _in_other_script(text: str, language: str) -> bool:
    """Return whether more than half of the letters are of a script that the language is not written in.

    It is False if the scripts of the language are not known.
    """
    expected = SCRIPTS.get(language, "").split()
    if not expected and language in LATIN_LANGUAGES:
        expected = ["LATIN"]
    letters = [letter for letter in text if letter.isalpha()]
    if not expected or not letters:
        return False
    other = 0
    for letter in letters:
        # The name of a letter begins with its script, as LATIN SMALL LETTER A does.
        script = unicodedata.name(letter, "?").split()[0]
        other += script not in expected
    return 2 * other > len(letters)


def _in_other_language(text: str, language: str, languages: Sequence[str]) -> bool:
    """Return whether a text has clearly more short words of one of `languages` than of `language`.

    It is False if the short words of `language` are not known.
    """
    if language not in SHORT_WORDS:
        return False
    words = Counter(_bare_words(text))
    expected = _count_short_words(words, language)
    others = [
        other for other in languages if other != language and other in SHORT_WORDS
    ]
    # Languages share short words, such as `de` and `in`.
    return any(
        _count_short_words(words, other) - expected >= WRONG_WORDS for other in others
    )


def _count_short_words(words: Counter[str], language: str) -> int:
    """Return how often the words in SHORT_WORDS, the frequent function words of a language, occur."""
    return sum(words[word] for word in SHORT_WORDS[language].split())
