"""ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum (Lin 2004): F1 of shared n-grams, and of longest common subsequences.

    ROUGE-N:  matches = sum over n-grams of min(count in hypothesis, count in reference);  P = matches / n-grams of the hypothesis,  R =
    matches / n-grams of the reference;  F1 = 2 P R / (P + R).  ROUGE-L: the same with the length of the longest common subsequence.
    ROUGE-Lsum (section 3.2, of whole summaries): matches = for each sentence of the reference, its words that are in its longest common
    subsequence with any sentence of the hypothesis (their union), counted together.

The paper's union counts a word of the hypothesis for every sentence of the reference that it matches, and may find more matches than there
are words.  Lin's ROUGE-1.5.5 counts a word no more often than either side has it, and so do we.  Where several subsequences are longest, we
take the one that leaves out words at the end of the reference first, as it does.

Words are runs of letters and digits in any script, with the marks that combine with them, lower-cased; canonically equal spellings are
equal (NFC).  There is no stop list.  On English text that is the tokenisation of the `rouge-score` package (which, knowing a-z only,
drops all other letters); with `--stem`, words of more than three characters, all of them ASCII, are stemmed (porter.py), as there.
Sentences of a line are separated by `--summary-separator` or a line end, no part of a word; only ROUGE-Lsum looks at them.
"""

from __future__ import annotations

import re
import unicodedata
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import ClassVar, Self

from masscli.metrics.config import ScoreConfig
from masscli.metrics.mean_metric import MeanMetric
from masscli.metrics.stemmer import stem

MARK = "\u0300"
WORD = re.compile(f"[^\\W_](?:[^\\W_]|{MARK})*")
"""Where every combining mark is `MARK`: Python's letters and digits do not include them."""
SHORT = 3
"""Letters of the longest word that is not stemmed."""

Words = list[str]


class Rouge(MeanMetric):
    """F1 of what two summaries share."""

    stem: bool
    separator: str

    @classmethod
    def of(cls, options: ScoreConfig) -> Self:
        metric = super().of(options)
        metric.stem, metric.separator = options.stem, options.summary_separator
        return metric

    def line_score(self, hypothesis: str, reference: str) -> float:
        shared, ours, theirs = self.shared(self.sentences(hypothesis), self.sentences(reference))
        return (
            2 * shared / (ours + theirs) if shared else 0.0
        )  # the harmonic mean of shared/ours and shared/theirs

    def sentences(self, line: str) -> list[Words]:
        """The words of each sentence."""
        found = [rouge_words(part) for part in line.replace(self.separator, "\n").split("\n")]
        return [[stemmed(word) for word in sentence] for sentence in found] if self.stem else found

    @abstractmethod
    def shared(self, hypothesis: list[Words], reference: list[Words]) -> tuple[int, int, int]:
        """Units in common, units of the hypothesis, units of the reference."""

    def described(self) -> dict[str, str]:
        return {"case": "lc", "tok": "words", "stem": "porter" if self.stem else "no", "score": "f1"}


class RougeN(Rouge):
    """Shared n-grams."""

    order: ClassVar[int]

    def shared(self, hypothesis: list[Words], reference: list[Words]) -> tuple[int, int, int]:
        ours, theirs = (ngrams(list(chain(*side)), self.order) for side in (hypothesis, reference))
        return (ours & theirs).total(), ours.total(), theirs.total()


class Rouge1(RougeN):
    """Words."""

    title: ClassVar[str] = "ROUGE-1"
    order: ClassVar[int] = 1


class Rouge2(RougeN):
    """Pairs of words."""

    title: ClassVar[str] = "ROUGE-2"
    order: ClassVar[int] = 2


class RougeL(Rouge):
    """The longest common subsequence."""

    title: ClassVar[str] = "ROUGE-L"

    def shared(self, hypothesis: list[Words], reference: list[Words]) -> tuple[int, int, int]:
        ours, theirs = (list(chain(*side)) for side in (hypothesis, reference))
        return common_subsequence_length(ours, theirs), len(ours), len(theirs)


class RougeLsum(Rouge):
    """The union of the longest common subsequences of sentences."""

    title: ClassVar[str] = "ROUGE-Lsum"

    def shared(self, hypothesis: list[Words], reference: list[Words]) -> tuple[int, int, int]:
        found = Counter(
            theirs[at]
            for theirs in reference
            for at in {at for ours in hypothesis for at in common_subsequence_positions(theirs, ours)}
        )
        ours, theirs = Counter(chain(*hypothesis)), Counter(chain(*reference))
        return (found & ours).total(), ours.total(), theirs.total()

    def described(self) -> dict[str, str]:
        return {**super().described(), "lcs": "union"}


def rouge_words(line: str) -> Words:
    """Lower-cased runs of letters, digits and their marks."""
    text = unicodedata.normalize("NFC", line.lower())
    if text.isascii():
        return WORD.findall(text)
    plain = "".join(MARK if unicodedata.category(c).startswith("M") else c for c in text)
    return [text[found.start() : found.end()] for found in WORD.finditer(plain)]


def stemmed(word: str) -> str:
    """A word that is compared by its stem."""
    return stem(word) if word.isascii() and len(word) > SHORT else word


def ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """How often each n-gram occurs."""
    return Counter(zip(*(tokens[i:] for i in range(order)), strict=False))


def common_subsequence_length(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, row by row of the usual table."""
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, 1):
            above = row[j]
            row[j] = diagonal + 1 if x == y else max(above, row[j - 1])
            diagonal = above
    return row[-1]


def common_subsequence_positions(a: Sequence[str], b: Sequence[str]) -> set[int]:
    """Places in `a` of the words of a longest common subsequence: the usual table, walked back from its end."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i][j] = table[i - 1][j - 1] + 1 if x == y else max(table[i - 1][j], table[i][j - 1])
    found, i, j = set(), len(a), len(b)
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j = i - 1, j - 1
            found.add(i)
        elif table[i][j - 1] > table[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return found
