"""Preprocessing of text before it is split into pieces: Moses rules, Romanian letters, lower case.

Punctuation is normalized as XLM and MASS do it before their BPE codes: by Moses' replace-unicode-punctuation,
normalize-punctuation and remove-non-printing-char, in this order.

Romanian is often typed with a cedilla under s and t, although its orthography has a comma. Papers on
WMT16 removed all diacritics from Romanian (Sennrich et al. 2016).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from masscli.text import moses

CEDILLAS_TO_COMMAS = str.maketrans("şţŞŢ", "șțȘȚ")

PublishedRules = Literal[
    "strip-accents",
    "keep-accents",
    "albert",
    "albert-keep-accents",
    "fsmt",
    "xlm",
    "xlm-keep-accents",
]
"""Rules of an imported tokenizer. BERT's either removes accents or keeps them; ALBERT's (`albert`, which
removes accents, and `albert-keep-accents`) also replaces quotation marks of TeX; FSMT's are those of Moses
with names for characters that XML reserves (`&apos;`), and they split words at dashes; those of
XLMTokenizer are those of Moses, after which it lower-cases text and removes accents (`xlm`) or does not."""


@dataclass(frozen=True, slots=True)
class TextPreprocessing:
    """The preprocessing that text goes through before it is split into the pieces of a vocabulary.

    `normalize` is Moses punctuation normalization, and `moses` is Moses tokenization. `romanian` is `commas`,
    which turns Romanian letters with a cedilla into those with a comma, or `plain`, which removes all marks
    from Romanian letters, or None. `published` names rules of an imported tokenizer.
    """

    normalize: bool = False
    moses: bool = False
    lowercase: bool = False
    romanian: str | None = None
    published: PublishedRules | None = None

    @property
    def wordpiece_strips_accents(self) -> bool:
        """Whether WordPiece removes accents: as `published` says, else if text is lower-cased, as in BERT."""
        if self.published in ("keep-accents", "strip-accents"):
            return self.published == "strip-accents"
        return self.lowercase

    def apply(self, lines: Sequence[str], language: str) -> Sequence[str]:
        """Return the preprocessed lines, ready to be split into pieces; Moses rules depend on `language`."""
        if self.normalize:
            lines = [
                _blank_non_printing(moses.normalize(line, language)) for line in lines
            ]
        lines = self.map_letters(lines, language)
        if self.published in _PUBLISHED:
            published = _PUBLISHED[self.published]
            lines = [published(line, language) for line in lines]
        # The tokenizer knows abbreviations by their case, so it comes before lower-casing.
        if self.moses:
            lines = [moses.tokenize(line, language) for line in lines]
        if self.lowercase:
            lines = [line.lower() for line in lines]
        return lines

    def map_letters(self, lines: Sequence[str], language: str) -> Sequence[str]:
        """Return Romanian lines with letters replaced as `romanian` says; others are returned unchanged.

        References must go through this before scoring, since decoding cannot undo it.
        """
        if self.romanian is None or language != "ro":
            return lines
        # Composed letters (NFC) are what the tables have.
        table = moses.MARKED_TO_PLAIN
        if self.romanian == "commas":
            table = CEDILLAS_TO_COMMAS
        return [unicodedata.normalize("NFC", line).translate(table) for line in lines]

    def undo(self, line: str, language: str) -> str:
        """Return a line detokenized by the Moses rules of its language if it was tokenized so, or by FSMT's.

        Lower-casing, normalized punctuation and replaced letters cannot be undone.
        """
        if self.published == "fsmt":
            return moses.detokenize_fsmt(line, language)
        if not self.moses and self.published not in ("xlm", "xlm-keep-accents"):
            return line
        return moses.detokenize(line, language)


def _albert(line: str, language: str) -> str:
    """Return a line as ALBERT's tokenizer prepares it by default: without accents and TeX's quotes."""
    decomposed = unicodedata.normalize("NFKD", _albert_with_accents(line, language))
    # All marks, and not only those of the category Mn, as BERT does.
    letters = [
        letter for letter in decomposed if unicodedata.category(letter)[0] != "M"
    ]
    return "".join(letters)


def _albert_with_accents(line: str, language: str) -> str:
    return line.replace("``", '"').replace("''", '"')


def _xlm(line: str, language: str) -> str:
    """Return a line as XLMTokenizer prepares it: tokenized, in lower case, and without accents.

    The last two are those of XLM's lowercase_and_remove_accent.py.
    """
    tokenized = moses.tokenize_xlm(line, language)
    decomposed = unicodedata.normalize("NFD", tokenized.lower())
    letters = [letter for letter in decomposed if unicodedata.category(letter) != "Mn"]
    # A letter without its accent may have a lower-case form.
    return "".join(letters).lower()


_PUBLISHED: Mapping[str | None, Callable[[str, str], str]] = {
    "albert": _albert,
    "albert-keep-accents": _albert_with_accents,
    "fsmt": moses.tokenize_fsmt,
    "xlm": _xlm,
    "xlm-keep-accents": moses.tokenize_xlm,
}
"""What the rules of published tokenizers make of a line in a language. WordPiece itself applies BERT's."""


def has_moses_rules(language: str) -> bool:
    """Return whether Moses has a list of abbreviations for a language; others get the English one."""
    from sacremoses.corpus import NonbreakingPrefixes

    return language in NonbreakingPrefixes().available_langs.values()


def _blank_non_printing(line: str) -> str:
    """Replace each character that is not printable by a space, as Moses' remove-non-printing-char.perl does.

    These are control, format, private and unassigned characters.
    """
    if line.isprintable():
        return line
    letters = []
    for letter in line:
        is_non_printing = unicodedata.category(letter)[0] == "C"
        letters.append(" " if is_non_printing else letter)
    return "".join(letters)
