"""Metrics that are not a mean over lines: F1 and correlations of labels or numbers, and entity F1.

They are computed on the whole corpus. Bootstrap resampling draws lines, or sentences for entity F1, and
recomputes the metric on each sample. All scores are times 100.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sacrebleu.metrics.base import Score

from masscli.core.digits import parse_number
from masscli.core.errors import MasscliError
from masscli.metrics import entities, label_measures
from masscli.metrics.config import ScoreConfig
from masscli.metrics.signature import SignedMetric

BOOTSTRAP_SEED = 12345
"""The seed of bootstrap resampling, which is sacreBLEU's."""
_SHOWN_LETTERS = 40
Unit = tuple[list[str], list[str]]
"""What bootstrap resampling draws as one: some gold lines, and the predicted lines that belong to them."""


class CorpusMetric(SignedMetric):
    """The base class of metrics that are computed on a whole corpus, with exactly one reference."""

    title: ClassVar[str]
    options: ScoreConfig

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with the settings in `options`, which are those of `masscli score`."""
        metric = cls()
        metric.options = options
        return metric

    @abstractmethod
    def compute(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        """Return the value of the metric on these lines, from 0 to 1, or from -1 to 1 for a correlation.

        `gold` and `predicted` have equally many lines, without white space at their ends.
        """

    def resampling_units(
        self, gold: Sequence[str], predicted: Sequence[str]
    ) -> list[Unit]:
        """Return the units that bootstrap resampling draws: single lines, unless a subclass differs."""
        return [([a], [b]) for a, b in zip(gold, predicted, strict=True)]

    def corpus_score(
        self, hypotheses: Sequence[str], references: Any, n_bootstrap: int = 1
    ) -> Score:
        """Return the score (times 100) of a corpus; `references` must have exactly one list of lines.

        If `n_bootstrap` is above 1, the score has the mean and the 95% confidence interval of that many
        bootstrap samples. Raises MasscliError for several references.
        """
        if len(references) != 1:
            raise MasscliError(
                f"{self.title}: takes one reference, got {len(references)}"
            )
        # sacreBLEU writes this number into the signature.
        self.num_refs = 1
        predicted = list(map(str.strip, hypotheses))
        gold = list(map(str.strip, references[0]))
        score = Score(self.title, 100 * self.compute(gold, predicted))
        if n_bootstrap > 1:
            values = self._bootstrap(
                self.resampling_units(gold, predicted), n_bootstrap
            )
            # Half of the interval of 95%. sacreBLEU takes the nearest samples, which hardly differs.
            low, high = np.percentile(values, [2.5, 97.5])
            score._mean = float(np.mean(values))
            score._ci = float(high - low) / 2
        return score

    def _bootstrap(self, units: Sequence[Unit], samples: int) -> list[float]:
        """Return the score (times 100) of each of `samples` bootstrap samples.

        A sample has as many units as the corpus, drawn with replacement. The seed is fixed.
        """
        # The seed is sacreBLEU's, so that intervals are the same every time.
        rng = np.random.default_rng(BOOTSTRAP_SEED)
        values = []
        for _ in range(samples):
            gold: list[str] = []
            predicted: list[str] = []
            for position in rng.integers(0, len(units), len(units)).tolist():
                gold += units[position][0]
                predicted += units[position][1]
            values.append(100 * self.compute(gold, predicted))
        return values

    def sentence_score(self, hypothesis: str, references: Sequence[str]) -> Score:
        """Raise MasscliError, because the metric is not defined for a single line."""
        raise MasscliError(
            f"{self.title}: is defined for a whole corpus, not for a line",
            "leave out --sentence-level",
        )

    # sacreBLEU's interface for comparing systems, which needs statistics of single lines.

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        """Raise MasscliError, because paired resampling needs statistics of single lines."""
        raise MasscliError(
            f"{self.title}: cannot be compared line by line",
            "leave out --paired, or use --metric accuracy",
        )

    def _compute_segment_statistics(
        self, hypothesis: str, ref_kwargs: dict[str, Any]
    ) -> list[float]:
        """Raise NotImplementedError: a single line has no statistics."""
        # Never called: the method above refuses to compare line by line.
        raise NotImplementedError

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        """Raise NotImplementedError: there are no statistics of single lines."""
        raise NotImplementedError

    def _aggregate_and_compute(self, stats: list[list[float]]) -> Score:
        """Raise NotImplementedError: there are no statistics of single lines."""
        raise NotImplementedError


class LabelMetric(CorpusMetric):
    """The base class of metrics that compare labels, one on each line.

    Lines that are blank on both sides are left out: they separate the sentences of tagged words.
    """

    def corpus_score(
        self, hypotheses: Sequence[str], references: Any, n_bootstrap: int = 1
    ) -> Score:
        """Return the score (times 100) over all lines that are not blank on both sides.

        If `n_bootstrap` is above 1, the score has a mean and a 95% confidence interval. Raises MasscliError
        for several references.
        """
        lines = zip(hypotheses, *references, strict=True)
        labeled = [line for line in lines if any(label.strip() for label in line)]
        predicted = self.normalize_case([line[0] for line in labeled])
        gold = []
        for number in range(1, len(references) + 1):
            gold.append(self.normalize_case([line[number] for line in labeled]))
        return super().corpus_score(predicted, gold, n_bootstrap)

    def normalize_case(self, lines: Sequence[str]) -> list[str]:
        """Return labels without white space at their ends, and in lower case if --lowercase is given."""
        labels = list(map(str.strip, lines))
        if self.options.lowercase:
            labels = list(map(str.lower, labels))
        return labels

    def signature_fields(self) -> dict[str, str]:
        """Return the settings for the signature: whether case counts, and the label of examples left out."""
        fields = {}
        if self.options.lowercase:
            fields["case"] = "lc"
        if self.options.no_gold:
            fields["nogold"] = self.options.no_gold
        return fields


class F1(LabelMetric):
    """F1 of the positive label, or macro F1, the mean over labels.

    The positive label is that of --positive, or else the second of two labels. Without --positive, F1 is
    macro F1 unless there are two labels. This is decided by all lines, never by those drawn in resampling.
    """

    title: ClassVar[str] = "F1"
    _positive: str | None = None
    _label_count = 0

    def compute(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        """Return F1 of the positive label, or macro F1 if there is none, from 0 to 1."""
        if self._positive is None:
            return label_measures.macro_f1(gold, predicted)
        return label_measures.f1(gold, predicted, self._positive)

    def corpus_score(
        self, hypotheses: Sequence[str], references: Any, n_bootstrap: int = 1
    ) -> Score:
        """Choose the positive label by all lines, and return the score (times 100).

        If `n_bootstrap` is above 1, the score has a mean and a 95% confidence interval. Raises MasscliError
        if no line has the label of --positive, or for several references.
        """
        # Labels are taken from all lines before any is drawn, so that samples agree on what F1 is.
        labels: set[str] = set()
        for lines in (hypotheses, *references):
            labels.update(self.normalize_case(lines))
        labels.discard("")
        # The option is compared with labels in the same way, with or without case.
        (positive,) = self.normalize_case([self.options.positive])
        if positive and positive not in labels:
            raise MasscliError(
                f"--positive {positive}: no line has this label",
                f"the labels are {', '.join(sorted(labels))}",
            )
        self._positive = label_measures.choose_positive_label(sorted(labels), positive)
        self._label_count = len(labels)
        return super().corpus_score(hypotheses, references, n_bootstrap)

    def signature_fields(self) -> dict[str, str]:
        """Return the settings for the signature: positive label or macro average, and number of labels."""
        fields = (
            {"average": "macro"}
            if self._positive is None
            else {"positive": self._positive}
        )
        return {
            **fields,
            "labels": str(self._label_count),
            **super().signature_fields(),
        }


class Matthews(LabelMetric):
    """Matthews' correlation coefficient of gold and predicted labels, times 100."""

    title: ClassVar[str] = "Matthews"

    def compute(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        """Return Matthews' correlation coefficient of two lists of labels, from -1 to 1."""
        return label_measures.matthews(gold, predicted)


class Pearson(CorpusMetric):
    """Pearson's correlation coefficient of gold and predicted numbers, times 100."""

    title: ClassVar[str] = "Pearson"

    def compute(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        """Return Pearson's correlation coefficient, from -1 to 1, of lines that are numbers.

        Raises MasscliError, which names the line, if one is not a finite number.
        """
        return label_measures.pearson(*self._read_numbers(gold, predicted))

    def _read_numbers(
        self, gold: Sequence[str], predicted: Sequence[str]
    ) -> tuple[Sequence[float], Sequence[float]]:
        """Return the numbers in gold and in predicted lines.

        Raises MasscliError, which names the line, if one is not a finite number.
        """
        return self._parse(gold, "the reference"), self._parse(
            predicted, "the hypothesis"
        )

    def _parse(self, lines: Sequence[str], side: str) -> list[float]:
        """Return the numbers in lines; `side` is how the error message calls them.

        Raises MasscliError, which names the line, if one is not a finite number.
        """
        numbers = []
        for line_number, line in enumerate(lines, 1):
            number = parse_number(line)
            if number is None:
                raise MasscliError(
                    f"{self.title}: line {line_number} of {side} is not a number: {line[:_SHOWN_LETTERS]!r}"
                )
            numbers.append(number)
        return numbers


class Spearman(Pearson):
    """Spearman's rank correlation coefficient of gold and predicted numbers, times 100."""

    title: ClassVar[str] = "Spearman"

    def compute(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        """Return Spearman's rank correlation coefficient, from -1 to 1, of lines that are numbers.

        Raises MasscliError, which names the line, if one is not a finite number.
        """
        return label_measures.spearman(*self._read_numbers(gold, predicted))


class EntityF1(CorpusMetric):
    """F1 (times 100) of entities in CoNLL lines; an entity is right if its span and its type are equal.

    The tag of a word is the last column of its line, and a blank line ends a sentence. Blank lines must stand
    at the same places in hypotheses and references, as `masscli score` makes sure.
    """

    title: ClassVar[str] = "entity F1"

    def compute(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        """Return micro-averaged F1 of entities in CoNLL lines, from 0 to 1."""
        return entities.entity_f1(
            entities.split_sentences(gold), entities.split_sentences(predicted)
        )

    def resampling_units(
        self, gold: Sequence[str], predicted: Sequence[str]
    ) -> list[Unit]:
        """Return the units that bootstrap resampling draws, which are sentences.

        A unit has the gold and the predicted lines of a sentence, and ends in a blank line on both sides.
        """
        units: list[Unit] = []
        unit: Unit = ([], [])
        for gold_line, predicted_line in zip(gold, predicted, strict=True):
            unit[0].append(gold_line)
            unit[1].append(predicted_line)
            if not gold_line:
                units.append(unit)
                unit = ([], [])
        # The last sentence may lack its blank line. Where it is drawn, another one may follow it.
        if unit[0]:
            units.append(([*unit[0], ""], [*unit[1], ""]))
        return units

    def signature_fields(self) -> dict[str, str]:
        """Return the settings for the signature: how spans are compared, the tags, and how F1 is averaged."""
        return {"spans": "exact", "tags": "bio", "average": "micro"}
