"""Moses normalization, tokenization and detokenization, corrected where sacremoses or Moses itself is wrong.

sacremoses is a port of Moses' Perl scripts. XLM and related papers used the scripts themselves: these
read each line with its line end, treat quotation marks in all languages except English and Czech the
same way, and split the last full stop of a line from any word. Detokenization is corrected where Moses
leaves spaces that hardly any text has, as in `10: 30` or `C ’ est`.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any

MARKED_TO_PLAIN = str.maketrans("şţŞŢșțȘȚăĂâÂîÎ", "stSTstSTaAaAiI")
"""Romanian letters with diacritics, and the same letters without them."""
LANGUAGES_WITH_OWN_QUOTES = ("en", "cs", "cz", "de", "es", "fr")
"""Languages whose quotation marks next to commas `normalize` leaves to sacremoses, which treats them as
Moses does. For all others sacremoses lacks Moses' rule."""
LAST_FULL_STOP = re.compile(r"(?<=[^\s.])\.$")
"""Matches a full stop at the end of a line that is attached to the last word."""
MARKS = (
    # Times and scores, such as 10:30.
    (re.compile(r"(?<=\d): (?=\d)|(?<=\d) : (?=\d\d\b)"), ":"),
    # Alternatives and dates, such as and/or and 24/7.
    (re.compile(r"(?<=\w) / (?=\w)"), "/"),
    # Numbers, such as #151.
    (re.compile(r"(?<![^\s(])# (?=\d)"), "#"),
    # Addresses, such as name@example.org.
    (re.compile(r"(?<=\w) @ (?=[\w-]+\.\w)"), "@"),
    # Names, such as AT&T.
    (re.compile(r"\b([A-Z]{1,3}) & ([A-Z]{1,2})\b"), r"\1&\2"),
    # Possessives of abbreviations and short forms, such as Corp.'s and geht's.
    (re.compile(r"(?<=[\w.]) '(?=s\b)"), "'"),
    # A sign of currency after a number, which Moses attaches to the next word: 3,50 €am.
    (re.compile(r"(\d) ([€$£¥])(?=[^\W\d])"), r"\1 \2 "),
    # An ellipsis that is one character.
    (re.compile(r"(?<=\S) (?=\u2026)"), ""),
    # Quotation marks whose partner is in another line.
    (re.compile(r'(?<=[.!?\u2026]) (?="$)'), ""),
    (re.compile(r'^" '), '"'),
    # An opening mark, which Moses attaches to the word before it.
    (re.compile(r"(?<=[\w,])\u201e"), " \u201e"),
)
"""Corrections of detokenized text, as (pattern, replacement): marks that Moses' detokenizer leaves detached,
or attaches to the wrong word."""
ENGLISH_APOSTROPHE = re.compile(
    r"(?<=\w) \u2019 ?(?=(?:s|t|re|ve|ll|d|m)\b)|(?<=\b[OD]) \u2019 (?=[A-Z])"
)
"""A typographic apostrophe with spaces around it that belongs to an English word, as in `it ’ s`. Elsewhere
it may be a closing quotation mark, or the apostrophe of a plural."""
APOSTROPHE = re.compile(r"(?<=[^\W\d_]) \u2019 (?=[^\W\d_])")
"""A typographic apostrophe with spaces around it between two letters. It is only joined to them if the line
has no single opening quotation mark."""
QUOTES = (("\u201e", "\u201c\u201d"), ("\u201c", "\u201d"))
"""Pairs of a double opening quotation mark and the characters that can close it."""
INWARD_GUILLEMETS = ("de", "da", "cs", "sk", "sl", "hr", "hu")
"""Languages that write »so«, with the points inward. This decides where a line has only one of the two
marks."""

WORDPIECE_MARKS = (
    # Numbers, such as 1,000.5.
    (re.compile(r"(?<=\d) ([.,:]) (?=\d)"), r"\1"),
    # Compounds, such as e-mail.
    (re.compile(r"(?<=\w) - (?=\w)"), "-"),
)
"""Corrections of WordPiece tokens, as (pattern, replacement): marks within words, such as the comma of 1,000,
at which WordPiece splits and Moses does not."""


def normalize(line: str, language: str) -> str:
    """Return a line with its punctuation normalized, as by Moses' normalize-punctuation.perl.

    Before that, Unicode punctuation is replaced as by Moses' replace-unicode-punctuation.perl.
    """
    # Moses' rule for a full stop before a closing quotation mark needs a character after that, which is the
    # line end for the last one.
    text: str = _normalizer(language).normalize(f"{line}\n")
    if language in LANGUAGES_WITH_OWN_QUOTES:
        return text
    text = text.replace(',"', '",')
    return re.sub(r'(\.+)"(\s*[^<])', r'"\1\2', f"{text}\n").removesuffix("\n")


def tokenize(line: str, language: str) -> str:
    """Return the Moses tokens of a line with spaces between them, as `tokenizer.perl -no-escape` does."""
    text: str = _tokenizer(language).tokenize(line, return_str=True, escape=False)
    # An abbreviation at the end of a line loses its full stop, which ends the sentence as well.
    return LAST_FULL_STOP.sub(" .", text)


def tokenize_fsmt(line: str, language: str) -> str:
    """Return the tokens of a line with spaces between them, as FSMT's tokenizer of Hugging Face makes them.

    It is Moses' tokenizer after the normalization of punctuation, with -a (words are split at dashes) and
    with names for characters that XML reserves. Characters that are not printable are removed.
    """
    text = _normalize_as_library(line, language)
    tokens: str = _tokenizer(language).tokenize(
        text, aggressive_dash_splits=True, return_str=True, escape=True
    )
    return tokens


def tokenize_xlm(line: str, language: str) -> str:
    """Return the tokens of a line with spaces between them, as XLMTokenizer of Hugging Face makes them.

    It is sacremoses without the corrections of this module, and Romanian has no marks on letters.
    """
    text = _normalize_as_library(line, language)
    if language == "ro":
        text = text.translate(MARKED_TO_PLAIN)
    tokens: str = _tokenizer(language).tokenize(text, return_str=True, escape=False)
    return tokens


def _normalize_as_library(line: str, language: str) -> str:
    """Return a line as tokenizers of Hugging Face normalize it, without characters that are not printable."""
    text: str = _plain_normalizer(language).normalize(line)
    return "".join(letter for letter in text if unicodedata.category(letter)[0] != "C")


def detokenize_fsmt(line: str, language: str) -> str:
    """Return the plain text of tokens that `tokenize_fsmt` made, as FSMT's tokenizer of Hugging Face does."""
    text: str = _detokenizer(language).detokenize(line.split())
    return text


def detokenize(line: str, language: str) -> str:
    """Return the plain text of Moses tokens, which have spaces between them: attach punctuation to words."""
    # Nothing was escaped by the tokenizer, so nothing is unescaped.
    text: str = _detokenizer(language).detokenize(line.split(" "), unescape=False)
    for pattern, replacement in MARKS:
        text = pattern.sub(replacement, text)
    if language == "en":
        text = ENGLISH_APOSTROPHE.sub("\u2019", text)
    elif "\u2018" not in text and "\u201a" not in text:
        text = APOSTROPHE.sub("\u2019", text)
    return _attach_quotes(text, language)


def detokenize_wordpiece(line: str, language: str) -> str:
    """Return the plain text of a line that WordPiece has split: attach punctuation to words.

    The line has words, whose pieces are joined already, and punctuation marks, with spaces between them. A
    mark within a number or a word, such as the comma of 1,000, is also a separate token.
    """
    for pattern, replacement in WORDPIECE_MARKS:
        line = pattern.sub(replacement, line)
    if language == "en":
        line = re.sub(r"(?<=\w) ' (?=(?:s|t|re|ve|ll|d|m)\b)", "'", line)
    else:
        line = re.sub(r"(?<=\b\w) ' (?=\w)|(?<=\bqu) ' (?=\w)", "'", line)
    return detokenize(line, language)


def _attach_quotes(text: str, language: str) -> str:
    """Remove the spaces inside of typographic double quotation marks and guillemets.

    In French the spaces inside of guillemets stay, unless the line uses the guillemets inward (»so«).
    """
    for opening, closing in QUOTES:
        # One pair only, since the closing mark of German is the opening one of English.
        if opening in text:
            text = re.sub(
                f" ([{closing}])", r"\1", text.replace(f"{opening} ", opening)
            )
            break
    left, right = "\u00ab", "\u00bb"
    # If a line has both marks, the first one opens; else the language decides.
    is_inward = language in INWARD_GUILLEMETS
    if left in text and right in text:
        is_inward = text.index(right) < text.index(left)
    if is_inward:
        return text.replace(f"{right} ", right).replace(f" {left}", left)
    # French writes spaces inside of these marks.
    if language == "fr":
        return text
    return text.replace(f"{left} ", left).replace(f" {right}", right)


# sacremoses is slow to import and its objects are slow to create, so there is one of each kind for each
# language, created when it is first needed.


@functools.cache
def _normalizer(language: str) -> Any:
    """Return sacremoses' normalizer of punctuation for a language."""
    from sacremoses import MosesPunctNormalizer

    return MosesPunctNormalizer(
        lang=language, pre_replace_unicode_punct=True, perl_parity=True
    )


@functools.cache
def _plain_normalizer(language: str) -> Any:
    """Return sacremoses' normalizer of punctuation for a language, with its own order of rules."""
    from sacremoses import MosesPunctNormalizer

    return MosesPunctNormalizer(lang=language, pre_replace_unicode_punct=True)


@functools.cache
def _tokenizer(language: str) -> Any:
    """Return sacremoses' tokenizer for a language."""
    from sacremoses import MosesTokenizer

    return MosesTokenizer(lang=language)


@functools.cache
def _detokenizer(language: str) -> Any:
    """Return sacremoses' detokenizer for a language."""
    from sacremoses import MosesDetokenizer

    return MosesDetokenizer(lang=language)
