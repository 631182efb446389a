"""ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum (Lin 2004): F1 of n-grams and common subsequences.

ROUGE-N: matches are summed over n-grams as min(count in hypothesis, count in reference). P = matches /
n-grams of the hypothesis, R = matches / n-grams of the reference, F1 = 2 P R / (P + R). ROUGE-L is the same
with the length of the longest common subsequence. ROUGE-Lsum (section 3.2, for whole summaries): matches
are, for each sentence of the reference, its words that are in its longest common subsequence with any
sentence of the hypothesis (their union), counted together.

The paper's union counts a word of the hypothesis for every sentence of the reference that it matches,
and may find more matches than there are words. Lin's ROUGE-1.5.5 counts a word no more often than it
occurs on either side, and so does this module. If there are several longest subsequences, it takes the
one that leaves out words at the end of the reference first, as ROUGE-1.5.5 does.

Words are runs of letters and digits in any script, with the marks that combine with them, in lower
case. Canonically equal spellings are equal (NFC). There is no stop list. For English text this is the
tokenization of the `rouge-score` package, which knows a-z only and drops all other letters. With
`--stem`, words of more than three characters, all of them ASCII, are stemmed as in that package.
Sentences of a line are separated by `--summary-separator` or a line break; neither is part of a word.
Only ROUGE-Lsum uses them.
"""

from __future__ import annotations

import re
import unicodedata
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import ClassVar, NamedTuple, Self

from masscli.metrics.config import ScoreConfig
from masscli.metrics.mean_metric import MeanMetric
from masscli.metrics.stemmer import stem

MARK = "\u0300"
"""The combining mark that replaces all others before WORD is applied, since `re` does not count marks as
letters."""
WORD = re.compile(f"[^\\W_](?:[^\\W_]|{MARK})*")
"""Matches a word: letters and digits, with the combining marks after them, all written as MARK."""
MAX_UNSTEMMED_LENGTH = 3
"""Words of at most this many characters are not stemmed."""

Words = list[str]


class Matches(NamedTuple):
    """The number of units (n-grams or words) that two summaries share, and the number in each of them."""

    shared: int
    hypothesis: int
    reference: int


class Rouge(MeanMetric):
    """The base class of ROUGE metrics: 100 times the mean over lines of F1 of the n-grams or words in common.

    Each line is a summary. `stem` says whether words are stemmed, and `separator` separates sentences.
    """

    stem: bool
    separator: str

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with the settings in `options`, which are those of `masscli score`."""
        metric = super().from_options(options)
        metric.stem = options.stem
        metric.separator = options.summary_separator
        return metric

    @abstractmethod
    def count_matches(self, hypothesis: list[Words], reference: list[Words]) -> Matches:
        """Return how many units (n-grams or words) two summaries share, and how many each has.

        A summary is given as the words of each of its sentences.
        """

    def line_score(self, hypothesis: str, reference: str) -> float:
        """Return F1 of a summary and its reference, from 0 to 1."""
        matches = self.count_matches(self.split(hypothesis), self.split(reference))
        if matches.shared == 0:
            return 0.0
        # The harmonic mean of precision and recall.
        return 2 * matches.shared / (matches.hypothesis + matches.reference)

    def split(self, line: str) -> list[Words]:
        """Split a summary into sentences, and return the words of each, stemmed if `stem` is set."""
        # A line break within a JSONL string also ends a sentence.
        sentences = line.replace(self.separator, "\n").split("\n")
        words_of_sentences = list(map(rouge_words, sentences))
        if self.stem:
            words_of_sentences = [
                list(map(_stem_if_long, words)) for words in words_of_sentences
            ]
        return words_of_sentences

    def signature_fields(self) -> dict[str, str]:
        """Return the settings for the signature: case, tokenization, stemming, and that F1 is reported."""
        return {
            "case": "lc",
            "tok": "words",
            "stem": "nltk" if self.stem else "no",
            "score": "f1",
        }


class RougeN(Rouge):
    """The base class of ROUGE-N: F1 of shared n-grams, where n is `order`."""

    order: ClassVar[int]

    def count_matches(self, hypothesis: list[Words], reference: list[Words]) -> Matches:
        """Return how many n-grams two summaries share, and how many each has.

        Each summary is taken as one sequence of words, so n-grams may cross the ends of sentences.
        """
        ours = count_ngrams(list(chain(*hypothesis)), self.order)
        theirs = count_ngrams(list(chain(*reference)), self.order)
        return Matches((ours & theirs).total(), ours.total(), theirs.total())


class Rouge1(RougeN):
    """ROUGE-1: F1 of shared words."""

    title: ClassVar[str] = "ROUGE-1"
    order: ClassVar[int] = 1


class Rouge2(RougeN):
    """ROUGE-2: F1 of shared word bigrams."""

    title: ClassVar[str] = "ROUGE-2"
    order: ClassVar[int] = 2


class RougeL(Rouge):
    """ROUGE-L: F1 of the words in the longest common subsequence of whole summaries."""

    title: ClassVar[str] = "ROUGE-L"

    def count_matches(self, hypothesis: list[Words], reference: list[Words]) -> Matches:
        """Return the length of the longest common subsequence of two summaries, and the words of each.

        Each summary is taken as one sequence of words; all three are numbers.
        """
        ours = list(chain(*hypothesis))
        theirs = list(chain(*reference))
        return Matches(common_subsequence_length(ours, theirs), len(ours), len(theirs))


class RougeLsum(Rouge):
    """ROUGE-Lsum: F1 of the words in the longest common subsequences of sentences, united over sentences."""

    title: ClassVar[str] = "ROUGE-Lsum"

    def count_matches(self, hypothesis: list[Words], reference: list[Words]) -> Matches:
        """Return how many words two summaries share by subsequences of sentences, and how many each has.

        For each sentence of the reference, its words in the longest common subsequence with any sentence of
        the hypothesis are shared. A word counts no more often than it occurs in either summary.
        """
        matched: Counter[str] = Counter()
        # Section 3.2 of the paper: each sentence of the reference is matched with all of the hypothesis.
        for reference_sentence in reference:
            union: set[int] = set()
            for sentence in hypothesis:
                union |= common_subsequence_positions(reference_sentence, sentence)
            matched.update(reference_sentence[position] for position in union)
        # Clipped at the counts of both sides, as ROUGE-1.5.5 does.
        ours = Counter(chain(*hypothesis))
        theirs = Counter(chain(*reference))
        return Matches((matched & ours).total(), ours.total(), theirs.total())

    def signature_fields(self) -> dict[str, str]:
        """Return the settings for the signature: those of all ROUGE metrics, and `lcs` for the union."""
        return {**super().signature_fields(), "lcs": "union"}


def rouge_words(line: str) -> Words:
    """Return the words of a line in lower case: runs of letters and digits with their combining marks."""
    # Composing letters makes equivalent spellings equal. It is done after lower-casing, which may
    # decompose a letter (U+0130).
    text = unicodedata.normalize("NFC", line.lower())
    if text.isascii():
        return WORD.findall(text)
    # Find the words in a copy of the text in which all marks are one and the same.
    marked = ""
    for letter in text:
        marked += MARK if unicodedata.category(letter).startswith("M") else letter
    return [text[match.start() : match.end()] for match in WORD.finditer(marked)]


def count_ngrams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """Return how often each n-gram of `order` words occurs."""
    # zip stops at the shortest copy, so all n-grams are complete.
    shifted = [words[start:] for start in range(order)]
    return Counter(zip(*shifted, strict=False))


def common_subsequence_length(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence of `a` and `b`, in words."""
    [row] = deque(_subsequence_rows(a, b), maxlen=1)
    return len(b) - row.bit_count()


def common_subsequence_positions(a: Sequence[str], b: Sequence[str]) -> set[int]:
    """Return the positions, from 0, of the words of `a` that are in a longest common subsequence with `b`.

    If there are several such subsequences, the one that leaves out words at the end of `a` first is taken.
    """
    # All rows are kept, to follow the subsequence back from its end.
    rows = list(_subsequence_rows(a, b))

    def length(i: int, j: int) -> int:
        """Return the length of the longest common subsequence of the first `i` and the first `j` words."""
        return j - (rows[i] & ((1 << j) - 1)).bit_count()

    positions = set()
    i = len(a)
    j = len(b)
    # If both neighbors are equal, drop the last word of `a`, as ROUGE-1.5.5 does.
    while i and j:
        if a[i - 1] == b[j - 1]:
            i -= 1
            j -= 1
            positions.add(i)
        elif length(i, j - 1) > length(i - 1, j):
            j -= 1
        else:
            i -= 1
    return positions


def _subsequence_rows(a: Sequence[str], b: Sequence[str]) -> Iterator[int]:
    """Yield, for the first 0, 1, 2, ... words of `a`, a whole number with a bit for each word of `b`.

    A bit is 0 where the longest common subsequence grows with this word of `b`, and 1 where it does not.
    """
    # An operation is so done for all words of `b` at once. The algorithm is that of Hyyro, "Bit-parallel
    # LCS-length computation revisited" (2004).
    shared = set(a)
    places: dict[str, int] = {}
    for position, word in enumerate(b):
        if word in shared:
            places[word] = places.get(word, 0) | 1 << position
    all_bits = (1 << len(b)) - 1
    row = all_bits
    yield row
    for word in a:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & all_bits
        yield row


def _stem_if_long(word: str) -> str:
    """Return the stem of a word, or the word itself if it is short or has letters that are not ASCII."""
    if word.isascii() and len(word) > MAX_UNSTEMMED_LENGTH:
        return stem(word)
    return word
