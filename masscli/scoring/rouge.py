"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004): F1 of shared n-grams, and of the longest common subsequence.

    ROUGE-N:  matches = sum over n-grams of min(count in hypothesis, count in reference);  P = matches / n-grams of the hypothesis,  R =
    matches / n-grams of the reference;  F1 = 2 P R / (P + R).  ROUGE-L: the same with the length of the longest common subsequence.

Words are runs of letters and digits, lower-cased, in any script; there is no stemming and no stop list, each line is one sentence.  On
English text that is the tokenisation of the `rouge-score` package without its stemmer (which, knowing a-z only, drops all other letters).
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from masscli.scoring.averages import Average

WORD = re.compile(r"[^\W_]+")


class Rouge(Average):
    """F1 of what two lists of words share."""

    def line_score(self, hypothesis: str, reference: str) -> float:
        shared, ours, theirs = self.shared(words(hypothesis), words(reference))
        return 2 * shared / (ours + theirs) if shared else 0.0  # the harmonic mean of shared/ours and shared/theirs

    @abstractmethod
    def shared(self, hypothesis: Sequence[str], reference: Sequence[str]) -> tuple[int, int, int]:
        """Units in common, units of the hypothesis, units of the reference."""

    def described(self) -> dict[str, str]:
        return {"case": "lc", "tok": "words", "stem": "no", "score": "f1"}


class RougeN(Rouge):
    """Shared n-grams."""

    order: ClassVar[int]

    def shared(self, hypothesis: Sequence[str], reference: Sequence[str]) -> tuple[int, int, int]:
        ours, theirs = ngrams(hypothesis, self.order), ngrams(reference, self.order)
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

    def shared(self, hypothesis: Sequence[str], reference: Sequence[str]) -> tuple[int, int, int]:
        return common_subsequence(hypothesis, reference), len(hypothesis), len(reference)


def words(line: str) -> list[str]:
    """Lower-cased runs of letters and digits."""
    return WORD.findall(line.lower())


def ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """How often each n-gram occurs."""
    return Counter(zip(*(tokens[i:] for i in range(order)), strict=False))


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, row by row of the usual table."""
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, 1):
            above = row[j]
            row[j] = diagonal + 1 if x == y else max(above, row[j - 1])
            diagonal = above
    return row[-1]
