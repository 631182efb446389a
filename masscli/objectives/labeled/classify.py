"""Classification of a text or a pair of texts: a softmax over the labels (see README.md).

The labels are those of the training split, or of --labels, and are stored in the recipe. A validation
example with another label has no loss, and counts as wrong. Examples without a gold label (--no-gold)
are left out of everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.data.batches.dataset import Dataset
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.metrics import label_measures
from masscli.metrics.unlabeled import unlabeled_mark
from masscli.objectives.labeled.labels import (
    NO_GOLD_LABEL,
    UNKNOWN_LABEL,
    choose_labels,
    count_labels,
    label_warnings,
    read_label_ids,
)
from masscli.objectives.labeled.options import ClassifyOptions
from masscli.objectives.labeled.softmax import softmax
from masscli.objectives.labeled.text_dataset import DoubledPairsDataset, TextDataset
from masscli.objectives.labeled.text_objective import TextObjective
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.evaluable_objective import ExampleOutput, Prediction
from masscli.objectives.shared.table_columns import choose_language, find_text_columns


class Classify(TextObjective):
    """Classification: predict one of several labels for a text or a pair of texts."""

    options: ClassifyOptions
    term = "classify"
    ignored_targets = (UNKNOWN_LABEL, NO_GOLD_LABEL)
    metric_names: ClassVar[tuple[str, ...]] = ("accuracy", "f1", "mcc")

    def __init__(self, config: ClassifyOptions, context: ObjectiveContext) -> None:
        super().__init__(config, context, len(config.labels))

    @classmethod
    def fill_from_data(
        cls, config: ClassifyOptions, data: DataFolder, name: str
    ) -> ClassifyOptions:
        """Return a copy of the options, in which what depends on the data is filled in.

        These are the text columns, the language, the labels and the label that means "no gold label", all
        from the training part of the table `name`. Raises MasscliError if an option does not fit the table.
        """
        table = data.table(name, "train")
        table.require(config.label_column, "--label-column")
        counts = count_labels(table, config.label_column)
        no_gold = config.no_gold
        # Some corpora use a special label if the annotators did not agree.
        if no_gold is None:
            no_gold = unlabeled_mark(config.labels or counts)
        labels = choose_labels(config.labels, counts, table, no_gold)
        if no_gold in labels:
            raise MasscliError(
                f"--no-gold {no_gold}: is among --labels, too",
                "leave it out of one of them",
            )
        # A misspelled label would otherwise give an F1 of 0.
        if config.positive and config.positive not in labels:
            raise MasscliError(
                f"--positive {config.positive}: is not a label of {table.path}",
                f"its labels are {', '.join(labels)}",
            )
        return replace(
            config,
            labels=labels,
            no_gold=no_gold,
            text_columns=find_text_columns(
                config.text_columns, table, config.label_column
            ),
            language=choose_language(config.language, table, data),
        )

    def targets(self, table: Table) -> Ids:
        """Return the label id (N,) of each example in a table.

        It is UNKNOWN_LABEL for labels that the model does not know, and NO_GOLD_LABEL for --no-gold.
        """
        table.require(self.options.label_column, "--label-column")
        no_gold = self.options.no_gold or ""
        return read_label_ids(
            self.options.labels, table, self.options.label_column, no_gold
        )

    def data_warnings(self, dataset: Dataset) -> list[str]:
        """Return warnings about truncated examples, missing gold labels, and unknown or unused labels."""
        warnings = super().data_warnings(dataset)
        # Both halves of doubled pairs have the same labels.
        texts = (
            dataset.original if isinstance(dataset, DoubledPairsDataset) else dataset
        )
        assert isinstance(texts, TextDataset)
        if texts.targets is not None:
            warnings += label_warnings(
                self.options.labels,
                texts.table,
                self.options.label_column,
                texts.targets,
            )
        return warnings

    def loss(self, scores: Tensor, targets: Tensor) -> Term:
        """Return the cross-entropy of the label ids `targets` (N,) under scores (N, labels), summed."""
        loss = F.cross_entropy(scores, targets, reduction="sum")
        return Term(loss, loss)

    def decode_predictions(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> list[Prediction]:
        """Return the most probable label of each example, with the probabilities of all labels as details."""
        predictions = []
        for scores in outputs:
            probabilities = softmax(scores)
            label = self._best_label(scores)
            details = {
                "label": label,
                "probability": float(probabilities.max()),
                "probabilities": dict(
                    zip(self.options.labels, probabilities.tolist(), strict=True)
                ),
            }
            predictions.append(Prediction(label, details))
        return predictions

    def compute_metrics(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> dict[str, float]:
        """Return `accuracy`, F1 (`f1`) and Matthews' correlation (`mcc`) of examples that have a gold label.

        All are times 100. F1 is that of the label --positive, else that of the second of two labels in
        alphabetical order, else the mean over labels.
        """
        gold = []
        predicted = []
        for row, scores in enumerate(outputs):
            label = table.text(self.options.label_column, row)
            # Results on SNLI and MNLI leave these examples out.
            if self.options.no_gold and label == self.options.no_gold:
                continue
            gold.append(label)
            predicted.append(self._best_label(scores))
        positive = label_measures.choose_positive_label(
            self.options.labels, self.options.positive
        )
        if positive is None:
            f1 = label_measures.macro_f1(gold, predicted)
        else:
            f1 = label_measures.f1(gold, predicted, positive)
        return {
            "accuracy": 100 * label_measures.accuracy(gold, predicted),
            "f1": 100 * f1,
            "mcc": 100 * label_measures.matthews(gold, predicted),
        }

    def _best_label(self, scores: ExampleOutput) -> str:
        return self.options.labels[int(scores.argmax())]
