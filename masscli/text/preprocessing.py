"""Preparation of text before it is split into pieces: Moses rules, Romanian letters, lower case.

Punctuation is normalized as XLM and MASS do it before their BPE codes: Moses' replace-unicode-punctuation,
normalize-punctuation and remove-non-printing-char, in this order.

Romanian is often typed with a cedilla under s and t where its spelling has a comma. Papers on WMT16 removed
all of these marks (Sennrich et al. 2016).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from masscli.text import moses

CEDILLAS_TO_COMMAS = str.maketrans("şţŞŢ", "șțȘȚ")
MARKED_TO_PLAIN = str.maketrans("şţŞŢșțȘȚăĂâÂîÎ", "stSTstSTaAaAiI")

PublishedRules = Literal["strip-accents", "keep-accents", "albert", "albert-keep-accents"]
"""Rules of an imported tokenizer: whether BERT's takes off accents, or what ALBERT's does to text."""


@dataclass(frozen=True, slots=True)
class TextPreprocessing:
    """The preparation of text with which a vocabulary was made.

    `normalize` is Moses punctuation normalization, `moses` is Moses tokenization. `romanian` is `commas` or
    `plain`; it says what becomes of Romanian letters with a cedilla (see the module's docstring). `published`
    are rules of an imported tokenizer.
    """

    normalize: bool = False
    moses: bool = False
    lowercase: bool = False
    romanian: str | None = None
    published: PublishedRules | None = None

    @property
    def wordpiece_strips_accents(self) -> bool:
        """Whether WordPiece takes off accents: by default if text is lower-cased, as in BERT."""
        if self.published in ("keep-accents", "strip-accents"):
            return self.published == "strip-accents"
        return self.lowercase

    def apply(self, lines: Sequence[str], language: str) -> Sequence[str]:
        """Return the lines after preparation, ready to be split into pieces."""
        if self.normalize:
            lines = [_blank_non_printing(moses.normalize(line, language)) for line in lines]
        lines = self.map_letters(lines, language)
        if self.published in ("albert", "albert-keep-accents"):
            lines = [_as_albert(line, self.published == "albert") for line in lines]
        # The tokenizer knows abbreviations by their case, so it comes before lower-casing.
        if self.moses:
            lines = [moses.tokenize(line, language) for line in lines]
        if self.lowercase:
            lines = [line.lower() for line in lines]
        return lines

    def map_letters(self, lines: Sequence[str], language: str) -> Sequence[str]:
        """Replace Romanian letters; lines in other languages stay as they are.

        References for scoring need this too, since decoding cannot undo it.
        """
        if self.romanian is None or language != "ro":
            return lines
        # Composed letters (NFC) are what the tables have.
        table = MARKED_TO_PLAIN
        if self.romanian == "commas":
            table = CEDILLAS_TO_COMMAS
        return [unicodedata.normalize("NFC", line).translate(table) for line in lines]

    def undo(self, line: str, language: str) -> str:
        """Undo Moses tokenization as the language requires. Case, punctuation and letters stay."""
        if not self.moses:
            return line
        return moses.detokenize(line, language)


def _as_albert(line: str, strip_accents: bool) -> str:
    """Replace the quotation marks of TeX, and take off accents, as the tokenizer of ALBERT does."""
    line = line.replace("``", '"').replace("''", '"')
    if strip_accents:
        decomposed = unicodedata.normalize("NFKD", line)
        line = "".join(letter for letter in decomposed if unicodedata.category(letter)[0] != "M")
    return line


def has_moses_rules(language: str) -> bool:
    """Return whether Moses has rules for a language; for others it uses the English ones."""
    from sacremoses.corpus import NonbreakingPrefixes

    return language in NonbreakingPrefixes().available_langs.values()


def _blank_non_printing(line: str) -> str:
    """Replace control, format and unassigned characters, as Moses' remove-non-printing-char.perl does."""
    if line.isprintable():
        return line
    letters = []
    for letter in line:
        is_non_printing = unicodedata.category(letter)[0] == "C"
        letters.append(" " if is_non_printing else letter)
    return "".join(letters)
