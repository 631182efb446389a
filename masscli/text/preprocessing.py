"""Preprocessing of text before it is split into pieces: Moses rules, Romanian letters, lower case.

Punctuation is normalized as XLM and MASS do it before their BPE codes: by Moses' replace-unicode-punctuation,
normalize-punctuation and remove-non-printing-char, in this order.

Romanian is often typed with a cedilla under s and t, although its orthography has a comma. Papers on
WMT16 removed all diacritics from Romanian (Sennrich et al. 2016).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
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
        if self.published in ("albert", "albert-keep-accents"):
            lines = [_as_albert(line, self.published == "albert") for line in lines]
        if self.published == "fsmt":
            lines = [moses.tokenize_fsmt(line, language) for line in lines]
        if self.published in ("xlm", "xlm-keep-accents"):
            lines = [moses.tokenize_xlm(line, language) for line in lines]
        if self.published == "xlm":
            lines = [_lower_without_accents(line) for line in lines]
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


def _as_albert(line: str, strip_accents: bool) -> str:
    """Replace quotation marks of TeX by `"`, and optionally remove accents, as ALBERT's tokenizer does."""
    line = line.replace("``", '"').replace("''", '"')
    if strip_accents:
        decomposed = unicodedata.normalize("NFKD", line)
        # All marks, and not only those of the category Mn, as BERT does.
        letters = [
            letter for letter in decomposed if unicodedata.category(letter)[0] != "M"
        ]
        line = "".join(letters)
    return line


def _lower_without_accents(line: str) -> str:
    """Return a line in lower case without accents, as XLM's lowercase_and_remove_accent.py makes it."""
    decomposed = unicodedata.normalize("NFD", line.lower())
    letters = [letter for letter in decomposed if unicodedata.category(letter) != "Mn"]
    # A letter without its accent may have a lower-case form.
    return "".join(letters).lower()


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
