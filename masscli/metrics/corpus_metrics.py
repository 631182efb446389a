"""Metrics of labels, numbers and tagged words that are no mean over lines: F1, Matthews, correlations, entities.

They are computed on the whole text; resampling draws lines (sentences, for entities) and computes anew.  Values are times 100.
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


class CorpusMetric(SignedMetric):
    """A number for a whole text and one reference."""

    title: ClassVar[str]
    options: ScoreConfig

    @classmethod
    def of(cls, options: ScoreConfig) -> Self:
        metric = cls()
        metric.options = options
        return metric

    @abstractmethod
    def whole(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        """In [0, 1], or [-1, 1]."""

    def units(self, gold: Sequence[str], predicted: Sequence[str]) -> list[tuple[list[str], list[str]]]:
        """What is drawn in resampling: lines."""
        return [([a], [b]) for a, b in zip(gold, predicted, strict=True)]

    def corpus_score(self, hypotheses: Sequence[str], references: Any, n_bootstrap: int = 1) -> Score:
        if len(references) != 1:
            raise MasscliError(f"{self.title}: takes one reference, got {len(references)}")
        self.num_refs = 1
        predicted, gold = [line.strip() for line in hypotheses], [line.strip() for line in references[0]]
        score = Score(self.title, 100 * self.whole(gold, predicted))
        if n_bootstrap > 1:
            units, rng = self.units(gold, predicted), np.random.default_rng(12345)
            values = []
            for _ in range(n_bootstrap):
                drawn = [units[at] for at in rng.integers(0, len(units), len(units)).tolist()]
                flat = [[line for unit in drawn for line in unit[side]] for side in (0, 1)]
                values.append(100 * self.whole(flat[0], flat[1]))
            low, high = np.percentile(values, [2.5, 97.5])
            score._mean, score._ci = float(np.mean(values)), float(high - low) / 2
        return score

    def sentence_score(self, hypothesis: str, references: Sequence[str]) -> Score:
        raise MasscliError(f"{self.title}: is of a whole text, not of a line", "leave out --sentence-level")

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        raise MasscliError(
            f"{self.title}: cannot be compared line by line", "leave out --paired, or use --metric accuracy"
        )

    def _compute_segment_statistics(self, hypothesis: str, ref_kwargs: dict[str, Any]) -> list[float]:
        raise NotImplementedError

    def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
        raise NotImplementedError

    def _aggregate_and_compute(self, stats: list[list[float]]) -> Score:
        raise NotImplementedError


class LabelMetric(CorpusMetric):
    """Of labels.  Lines that are blank on both sides separate sentences of tagged words, and have none."""

    def corpus_score(self, hypotheses: Sequence[str], references: Any, n_bootstrap: int = 1) -> Score:
        rows = [row for row in zip(hypotheses, *references, strict=True) if any(line.strip() for line in row)]
        predicted, *gold = [self.folded(column) for column in zip(*rows, strict=True)] or [
            [],
            *([] for _ in references),
        ]
        return super().corpus_score(predicted, gold, n_bootstrap)

    def folded(self, lines: Sequence[str]) -> list[str]:
        """As they are compared."""
        return [line.strip().lower() if self.options.lowercase else line.strip() for line in lines]

    def described(self) -> dict[str, str]:
        return {
            **({"case": "lc"} if self.options.lowercase else {}),
            **({"nogold": self.options.no_gold} if self.options.no_gold else {}),
        }


class F1(LabelMetric):
    """Of the positive label; the mean over labels where there are not two.  Which it is follows from all the lines, never from a draw."""

    title: ClassVar[str] = "F1"
    _positive: str | None = None
    _labels = 0

    def whole(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        return (
            label_measures.macro_f1(gold, predicted)
            if self._positive is None
            else label_measures.f1(gold, predicted, self._positive)
        )

    def corpus_score(self, hypotheses: Sequence[str], references: Any, n_bootstrap: int = 1) -> Score:
        found = sorted({label for lines in (hypotheses, *references) for label in self.folded(lines)} - {""})
        (positive,) = self.folded([self.options.positive])
        if positive and positive not in found:
            raise MasscliError(
                f"--positive {positive}: no line has this label", f"the labels are {', '.join(found)}"
            )
        self._positive, self._labels = label_measures.choose_positive_label(found, positive), len(found)
        return super().corpus_score(hypotheses, references, n_bootstrap)

    def described(self) -> dict[str, str]:
        about = {"average": "macro"} if self._positive is None else {"positive": self._positive}
        return {**about, "labels": str(self._labels), **super().described()}


class Matthews(LabelMetric):
    """Correlation of labellings."""

    title: ClassVar[str] = "Matthews"

    def whole(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        return label_measures.matthews(gold, predicted)


class Pearson(CorpusMetric):
    """Linear correlation of numbers."""

    title: ClassVar[str] = "Pearson"

    def whole(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        return label_measures.pearson(
            self._numbers(gold, "the reference"), self._numbers(predicted, "the hypothesis")
        )

    def _numbers(self, lines: Sequence[str], what: str) -> list[float]:
        found = []
        for number, line in enumerate(lines, 1):
            try:
                found.append(float(line))
            except ValueError:
                found.append(math.nan)
            if not math.isfinite(found[-1]):
                raise MasscliError(f"{self.title}: line {number} of {what} is not a number: {line[:40]!r}")
        return found


class Spearman(Pearson):
    """Linear correlation of ranks."""

    title: ClassVar[str] = "Spearman"

    def whole(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        return label_measures.spearman(
            self._numbers(gold, "the reference"), self._numbers(predicted, "the hypothesis")
        )


class EntityF1(CorpusMetric):
    """Exact spans of BIO tags in CoNLL lines: the last column of each line, a blank line after each sentence."""

    title: ClassVar[str] = "entity F1"

    def whole(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        return entities.entity_f1(entities.split_sentences(gold), entities.split_sentences(predicted))

    def units(self, gold: Sequence[str], predicted: Sequence[str]) -> list[tuple[list[str], list[str]]]:
        """Sentences."""
        found: list[tuple[list[str], list[str]]] = [([], [])]
        for a, b in zip(gold, predicted, strict=True):
            found[-1][0].append(a)
            found[-1][1].append(b)
            if not a:
                found.append(([], []))
        return [unit for unit in found if unit[0]]

    def described(self) -> dict[str, str]:
        return {"spans": "exact", "tags": "bio", "average": "micro"}
