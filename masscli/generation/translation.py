"""What a `Translator` returns and reports: translations, and statistics with the numbers of unusual lines."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from masscli.generation.hypotheses import Hypothesis
from masscli.text.unknown_pieces import UnknownPieces, list_lines

INPUT = "the input"
"""How messages and reports call the text that is translated."""


@dataclass(frozen=True, slots=True)
class Translation:
    """One output for a line: a hypothesis with its text and its pieces.

    Logarithms are natural ones. The output of an empty line has no pieces, and probability 1. So has an
    output whose pieces were given no scores (see CTranslate2Decoder).
    """

    text: str
    hypothesis: Hypothesis
    pieces: tuple[str, ...] = ()
    """The pieces as the vocabulary writes them, and the end symbol; empty if they were given no scores."""

    @property
    def score(self) -> float:
        """The score that ranks outputs: the log-probability over the length (with end symbol) ** lenpen."""
        return self.hypothesis.score

    @property
    def piece_scores(self) -> tuple[float, ...]:
        """The log-probability of each of `pieces`, end symbol included; empty if not computed."""
        return self.hypothesis.token_scores

    @property
    def log_probability(self) -> float:
        """The log-probability of the whole text: the sum of `piece_scores`, 0 if these were not computed."""
        return math.fsum(self.piece_scores)

    @property
    def confidence(self) -> float:
        """The geometric mean of the probabilities of the pieces, between 0 and 1.

        This is the sequence probability TP of Fomicheva et al. 2020 (Unsupervised Quality Estimation), as a
        probability instead of its logarithm, and 1 over the perplexity by piece.
        """
        return math.exp(self.log_probability / max(1, len(self.piece_scores)))


@dataclass(slots=True)
class Report:
    """Statistics and events of a translation, such as truncated lines. Lines are numbered from 1."""

    lines: int = 0
    """Number of lines that were translated or scored."""
    tokens: int = 0
    """Number of pieces and end symbols in the best outputs, or in the scored text."""
    empty: list[int] = field(default_factory=list)
    """Numbers of the lines of the input in which there is no piece, such as empty ones."""
    truncated: list[int] = field(default_factory=list)
    """Numbers of the lines that were truncated to what the model (or a lower limit) allows."""
    hit_max_len: list[int] = field(default_factory=list)
    """Numbers of the lines whose best output ended at the length limit."""
    nothing_found: list[int] = field(default_factory=list)
    """Numbers of the lines whose output is empty, since options and constraints left none to be found."""
    blank: list[int] = field(default_factory=list)
    """Numbers of the lines that are not empty, but for which the model's best output is."""
    nats: float = 0.0
    """Negative log-likelihood of the scored text, in nats, summed over all lines."""
    words: int = 0
    """Number of words of the scored text, separated by white space, plus one end symbol for each line."""
    unknown: dict[str, UnknownPieces] = field(default_factory=dict)
    """Unknown pieces by where they were read: INPUT, "--prefix", "--constraints" or "--score-reference"."""

    def warnings(self, max_source: int) -> Iterator[str]:
        """Yield a warning for each kind of line that was truncated, not understood, or given an empty output.

        `max_source` is the most pieces of a line that the model reads.
        """
        if self.truncated:
            yield f"{list_lines(self.truncated)} truncated to the {max_source} pieces the model reads"
        for name, unknown in self.unknown.items():
            if unknown.lines:
                yield unknown.warning(name)
        if self.nothing_found:
            yield f"{list_lines(self.nothing_found)} empty, since the options left nothing to say"
        if self.blank:
            yield f"{list_lines(self.blank)} given an empty output by the model"
