"""Moses normalization, tokenization and detokenization, corrected where sacremoses or Moses itself is wrong.

sacremoses is a port of Moses' Perl scripts. XLM and the papers of its field used the scripts themselves:
these read each line with its line end, treat quotation marks of all languages but English and Czech alike,
and split the last full stop of a line from any word. Detokenization is corrected where Moses leaves spaces
that hardly any text has, as in `10: 30` or `C ’ est`.
"""

from __future__ import annotations

import functools
import re
from typing import Any

LANGUAGES_WITH_OWN_QUOTES = ("en", "cs", "cz", "de", "es", "fr")
"""Languages for which sacremoses has Moses' rule for quotation marks beside commas, or rightly has none."""
LAST_FULL_STOP = re.compile(r"(?<=[^\s.])\.$")
"""A full stop that is a part of the last word."""
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
"""Marks that Moses detaches, or attaches to the wrong word, and what replaces them."""
ENGLISH_APOSTROPHE = re.compile(r"(?<=\w) \u2019 ?(?=(?:s|t|re|ve|ll|d|m)\b)|(?<=\b[OD]) \u2019 (?=[A-Z])")
"""A typographic apostrophe of English. Elsewhere it may be a closing quotation mark or that of a plural."""
APOSTROPHE = re.compile(r"(?<=[^\W\d_]) \u2019 (?=[^\W\d_])")
"""A typographic apostrophe within a word, if the line has no opening quotation mark of this kind."""
QUOTES = (("\u201e", "\u201c\u201d"), ("\u201c", "\u201d"))
"""Opening quotation marks, and those that close them."""
INWARD_GUILLEMETS = ("de", "da", "cs", "sk", "sl", "hr", "hu")
"""Languages that write »so«, if a line does not tell."""

WORDPIECE_MARKS = (
    # Numbers, such as 1,000.5.
    (re.compile(r"(?<=\d) ([.,:]) (?=\d)"), r"\1"),
    # Compounds, such as e-mail.
    (re.compile(r"(?<=\w) - (?=\w)"), "-"),
)
"""Marks within words, at which Moses does not split and WordPiece does."""


def normalize(line: str, language: str) -> str:
    """Return a line with punctuation normalized as by Moses' normalize-punctuation.perl."""
    # Moses' rule for a full stop before a closing quotation mark needs a character after that, which is the
    # line end for the last one.
    text: str = _normalizer(language).normalize(f"{line}\n")
    if language in LANGUAGES_WITH_OWN_QUOTES:
        return text
    text = text.replace(',"', '",')
    return re.sub(r'(\.+)"(\s*[^<])', r'"\1\2', f"{text}\n").removesuffix("\n")


def tokenize(line: str, language: str) -> str:
    """Return the tokens of a line with spaces between them, as by Moses' tokenizer.perl -no-escape."""
    text: str = _tokenizer(language).tokenize(line, return_str=True, escape=False)
    # An abbreviation at the end of a line loses its full stop, which ends the sentence as well.
    return LAST_FULL_STOP.sub(" .", text)


def detokenize(line: str, language: str) -> str:
    """Return the text of Moses tokens with spaces between them."""
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
    """Return the text of WordPiece tokens with spaces between them; every punctuation mark is a token."""
    for pattern, replacement in WORDPIECE_MARKS:
        line = pattern.sub(replacement, line)
    if language == "en":
        line = re.sub(r"(?<=\w) ' (?=(?:s|t|re|ve|ll|d|m)\b)", "'", line)
    else:
        line = re.sub(r"(?<=\b\w) ' (?=\w)|(?<=\bqu) ' (?=\w)", "'", line)
    return detokenize(line, language)


def _attach_quotes(text: str, language: str) -> str:
    """Remove the spaces inside of typographic quotation marks."""
    for opening, closing in QUOTES:
        # One pair only, since the closing mark of German is the opening one of English.
        if opening in text:
            text = re.sub(f" ([{closing}])", r"\1", text.replace(f"{opening} ", opening))
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


# sacremoses is slow to import and its objects are slow to make, so there is one of each kind for each
# language, made when it is needed first.


@functools.cache
def _normalizer(language: str) -> Any:
    from sacremoses import MosesPunctNormalizer

    return MosesPunctNormalizer(lang=language, pre_replace_unicode_punct=True, perl_parity=True)


@functools.cache
def _tokenizer(language: str) -> Any:
    from sacremoses import MosesTokenizer

    return MosesTokenizer(lang=language)


@functools.cache
def _detokenizer(language: str) -> Any:
    from sacremoses import MosesDetokenizer

    return MosesDetokenizer(lang=language)
