"""Metrics that are no mean over lines: F1 and correlations of labels and numbers, and F1 of tagged entities.

They are computed on the whole corpus. Resampling draws lines, or sentences for entities, and computes them
again. All values are times 100.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sacrebleu.metrics.base import Score

from masscli.core.errors import MasscliError
from masscli.metrics import entities, label_measures
from masscli.metrics.config import ScoreConfig
from masscli.metrics.signature import SignedMetric

BOOTSTRAP_SEED = 12345
_SHOWN_LETTERS = 40
Unit = tuple[list[str], list[str]]
"""The gold lines and the predicted lines that resampling draws together."""


class CorpusMetric(SignedMetric):
    """The base class of metrics that are computed on a whole corpus, with one reference."""

    title: ClassVar[str]
    options: ScoreConfig

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with the settings of `options`."""
        metric = cls()
        metric.options = options
        return metric

    @abstractmethod
    def compute(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        """Return the value of the metric, in [0, 1], or in [-1, 1] for a correlation."""

    def resampling_units(self, gold: Sequence[str], predicted: Sequence[str]) -> list[Unit]:
        """Return the units that bootstrap resampling draws: lines."""
        return [([a], [b]) for a, b in zip(gold, predicted, strict=True)]

    def corpus_score(self, hypotheses: Sequence[str], references: Any, n_bootstrap: int = 1) -> Score:
        """Return the score of a corpus, with mean and confidence interval if `n_bootstrap` is above 1."""
        if len(references) != 1:
            raise MasscliError(f"{self.title}: takes one reference, got {len(references)}")
        # sacreBLEU writes this number into the signature.
        self.num_refs = 1
        predicted = list(map(str.strip, hypotheses))
        gold = list(map(str.strip, references[0]))
        score = Score(self.title, 100 * self.compute(gold, predicted))
        if n_bootstrap > 1:
            values = self._bootstrap(self.resampling_units(gold, predicted), n_bootstrap)
            # The interval of 95%, as sacreBLEU computes it.
            low, high = np.percentile(values, [2.5, 97.5])
            score._mean = float(np.mean(values))
            score._ci = float(high - low) / 2
        return score

    def _bootstrap(self, units: Sequence[Unit], samples: int) -> list[float]:
        """Return the score of each of `samples` bootstrap samples; a sample is drawn with replacement."""
        # The seed is sacreBLEU's, so that intervals are the same every time.
        rng = np.random.default_rng(BOOTSTRAP_SEED)
        values = []
        for _ in range(samples):
            gold: list[str] = []
            predicted: list[str] = []
            # A sample has as many units as the corpus.
            for position in rng.integers(0, len(units), len(units)).tolist():
                gold += units[position][0]
                predicted += units[position][1]
            values.append(100 * self.compute(gold, predicted))
        return values

    def sentence_score(self, hypothesis: str, references: Sequence[str]) -> Score:
        """Raise MasscliError, because a single line has no score."""
        raise MasscliError(
            f"{self.title}: is defined for a whole corpus, not for a line", "leave out --sentence-level"
        )

    # sacreBLEU's interface for comparing systems, which needs statistics of single lines.

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        raise MasscliError(
            f"{self.title}: cannot be compared line by line", "leave out --paired, or use --metric accuracy"
        )

    def _compute_segment_statistics(self, hypothesis: str, ref_kwargs: dict[str, Any]) -> list[float]:
        # Never called: the method above refuses to compare line by line.
        raise NotImplementedError

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        raise NotImplementedError

    def _aggregate_and_compute(self, stats: list[list[float]]) -> Score:
        raise NotImplementedError


class LabelMetric(CorpusMetric):
    """The base class of metrics of labels; lines that are blank on both sides are left out.

    Lines that are blank on both sides separate the sentences of tagged words and are left out.
    """

    def corpus_score(self, hypotheses: Sequence[str], references: Any, n_bootstrap: int = 1) -> Score:
        """Return the score over all lines that have a label."""
        lines = zip(hypotheses, *references, strict=True)
        labelled = [line for line in lines if any(label.strip() for label in line)]
        predicted = self.normalize_case([line[0] for line in labelled])
        gold = []
        for number in range(1, len(references) + 1):
            gold.append(self.normalize_case([line[number] for line in labelled]))
        return super().corpus_score(predicted, gold, n_bootstrap)

    def normalize_case(self, lines: Sequence[str]) -> list[str]:
        """Return labels in lower case if --lowercase is given, otherwise unchanged."""
        labels = list(map(str.strip, lines))
        if self.options.lowercase:
            labels = list(map(str.lower, labels))
        return labels

    def signature_fields(self) -> dict[str, str]:
        """Return the signature fields: whether case counts, and the label of examples left out."""
        fields = {}
        if self.options.lowercase:
            fields["case"] = "lc"
        if self.options.no_gold:
            fields["nogold"] = self.options.no_gold
        return fields


class F1(LabelMetric):
    """F1 of the positive label, or the mean over labels unless there are two.

    Which it is depends on all lines, never on those that were drawn in resampling.
    """

    title: ClassVar[str] = "F1"
    _positive: str | None = None
    _label_count = 0

    def compute(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        """Return F1."""
        if self._positive is None:
            return label_measures.macro_f1(gold, predicted)
        return label_measures.f1(gold, predicted, self._positive)

    def corpus_score(self, hypotheses: Sequence[str], references: Any, n_bootstrap: int = 1) -> Score:
        """Choose the positive label and return the score.

        Raises MasscliError if no line has the label that is asked for.
        """
        # Labels are taken from all lines before any is drawn, so that samples agree on what F1 is.
        labels: set[str] = set()
        for lines in (hypotheses, *references):
            labels.update(self.normalize_case(lines))
        labels.discard("")
        # Upper and lower case of the option count as they do for the labels.
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
        """Return the signature fields: the positive label or macro averaging, and the number of labels."""
        fields = {"average": "macro"} if self._positive is None else {"positive": self._positive}
        return {**fields, "labels": str(self._label_count), **super().signature_fields()}


class Matthews(LabelMetric):
    """Matthews' correlation coefficient of gold and predicted labels."""

    title: ClassVar[str] = "Matthews"

    def compute(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        """Return the correlation coefficient of Matthews."""
        return label_measures.matthews(gold, predicted)


class Pearson(CorpusMetric):
    """Pearson's correlation of numbers."""

    title: ClassVar[str] = "Pearson"

    def compute(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        """Return Pearson's correlation coefficient. Raises MasscliError for a line that is no number."""
        return label_measures.pearson(*self._read_numbers(gold, predicted))

    def _read_numbers(
        self, gold: Sequence[str], predicted: Sequence[str]
    ) -> tuple[Sequence[float], Sequence[float]]:
        return self._parse(gold, "the reference"), self._parse(predicted, "the hypothesis")

    def _parse(self, lines: Sequence[str], side: str) -> list[float]:
        numbers = []
        for line_number, line in enumerate(lines, 1):
            try:
                number = float(line)
            except ValueError:
                number = math.nan
            # `nan` and `inf` are numbers to Python, but have no correlation.
            if not math.isfinite(number):
                raise MasscliError(
                    f"{self.title}: line {line_number} of {side} is not a number: {line[:_SHOWN_LETTERS]!r}"
                )
            numbers.append(number)
        return numbers


class Spearman(Pearson):
    """Spearman's rank correlation of numbers."""

    title: ClassVar[str] = "Spearman"

    def compute(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        """Return Spearman's correlation coefficient. Raises MasscliError for a line that is no number."""
        return label_measures.spearman(*self._read_numbers(gold, predicted))


class EntityF1(CorpusMetric):
    """F1 of exact entity spans in CoNLL lines. The tag is the last column; a blank line ends a sentence."""

    title: ClassVar[str] = "entity F1"

    def compute(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        """Return micro-averaged F1."""
        return entities.entity_f1(entities.split_sentences(gold), entities.split_sentences(predicted))

    def resampling_units(self, gold: Sequence[str], predicted: Sequence[str]) -> list[Unit]:
        """Return the units that bootstrap resampling draws: sentences.

        Each has the blank line that ends it in the reference.
        """
        units: list[Unit] = []
        unit: Unit = ([], [])
        for gold_line, predicted_line in zip(gold, predicted, strict=True):
            unit[0].append(gold_line)
            unit[1].append(predicted_line)
            if not gold_line:
                units.append(unit)
                unit = ([], [])
        # The last sentence may lack its blank line.
        if unit[0]:
            units.append(unit)
        return units

    def signature_fields(self) -> dict[str, str]:
        """Return the signature fields: how spans are compared and averaged."""
        return {"spans": "exact", "tags": "bio", "average": "micro"}
