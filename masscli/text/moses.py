"""The optional surface treatment before SentencePiece: Moses punctuation normalisation, Romanian letters, Moses tokenisation, lower-casing.

Normalisation is what XLM and MASS have before their codes: replace-unicode-punctuation, normalize-punctuation, remove-non-printing-char.

Romanian is often typed with a cedilla under s and t, where its spelling has a comma; papers on WMT16 took all marks away (Sennrich et al.
2016).

sacremoses is slow (about 1 MB/s) and its objects slow to make, so it is loaded only when asked for, and one of
each kind is kept per language.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

COMMAS = str.maketrans("şţŞŢ", "șțȘȚ")
PLAIN = str.maketrans("şţŞŢșțȘȚăĂâÂîÎ", "stSTstSTaAaAiI")


@dataclass(frozen=True, slots=True)
class TextPreprocessing:
    """What is done to a line before it is cut into pieces, and undone afterwards (case, punctuation and letters cannot be)."""

    normalize: bool = False
    moses: bool = False
    lowercase: bool = False
    romanian: str | None = None

    def apply(self, lines: Sequence[str], language: str) -> Sequence[str]:
        """Lines as SentencePiece is to see them."""
        if self.normalize:
            normalizer = _normalizer(language)
            lines = [_printable(normalizer.normalize(line)) for line in lines]
        lines = self.map_letters(lines, language)
        if self.moses:
            tokenizer = _tokenizer(language)
            lines = [tokenizer.tokenize(line, return_str=True, escape=False) for line in lines]
        return [line.lower() for line in lines] if self.lowercase else lines

    def map_letters(self, lines: Sequence[str], language: str) -> Sequence[str]:
        """Romanian lines in the letters that are used; what no model of this text can write otherwise."""
        if not self.romanian or language != "ro":
            return lines
        table = COMMAS if self.romanian == "commas" else PLAIN
        return [unicodedata.normalize("NFC", line).translate(table) for line in lines]

    def undo(self, line: str, language: str) -> str:
        """Moses tokens joined as the language writes them."""
        text: str = _detokenizer(language).detokenize(line.split(" "), unescape=False) if self.moses else line
        return text


def has_rules(language: str) -> bool:
    """Whether the tokenizer knows the abbreviations of a language; of others it takes the English ones."""
    from sacremoses.corpus import NonbreakingPrefixes

    return language in NonbreakingPrefixes().available_langs.values()


@functools.cache
def _normalizer(language: str) -> Any:
    from sacremoses import MosesPunctNormalizer

    return MosesPunctNormalizer(lang=language, pre_replace_unicode_punct=True)


def _printable(line: str) -> str:
    """With a blank for every control, format or unassigned character, as Moses' remove-non-printing-char.perl."""
    return (
        line if line.isprintable() else "".join(" " if unicodedata.category(c)[0] == "C" else c for c in line)
    )


@functools.cache
def _tokenizer(language: str) -> Any:
    from sacremoses import MosesTokenizer

    return MosesTokenizer(lang=language)


@functools.cache
def _detokenizer(language: str) -> Any:
    from sacremoses import MosesDetokenizer

    return MosesDetokenizer(lang=language)
