"""Multiple choice: a softmax over the scores of a context with each of its choices (see README.md).

The number of choices may differ between examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Ids
from masscli.data.batches.dataset import Dataset
from masscli.data.formats.multiple_choice import QUESTION, choice_index
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.models.transformer import Transformer
from masscli.objectives.labeled.auxiliary_lm import (
    LM_TERM,
    auxiliary_lm_loss,
    check_auxiliary_lm,
    term_weights,
)
from masscli.objectives.labeled.choice_dataset import ChoiceCollator, ChoiceDataset
from masscli.objectives.labeled.options import ChooseOptions
from masscli.objectives.labeled.softmax import softmax
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.classification_head import ClassificationHead
from masscli.objectives.shared.evaluable_objective import (
    ExampleOutput,
    Prediction,
    PredictiveObjective,
)
from masscli.objectives.shared.sequence_reader import SequenceReader
from masscli.objectives.shared.table_columns import choose_language

MISSING_CHOICE = -1e30
"""The score of choices that an example does not have; its softmax is 0."""


class Choose(PredictiveObjective):
    """Multiple choice: choose one of several texts that may follow a context."""

    metric_names: ClassVar[tuple[str, ...]] = ("accuracy",)

    def __init__(self, config: ChooseOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config
        self.reader = SequenceReader.from_options(config, context)
        check_auxiliary_lm(config, self.reader)
        # One score for each choice: the softmax over choices makes them probabilities.
        self.head = ClassificationHead(config, context.model.dim, 1)

    @property
    def weights(self) -> Mapping[str, float]:
        """The weights of the loss terms: 1 for `choose`, and --lm-weight for `lm` if it is above 0."""
        return term_weights("choose", self.options)

    @classmethod
    def fill_from_data(
        cls, config: ChooseOptions, data: DataFolder, name: str
    ) -> ChooseOptions:
        """Return the options with `language` filled in: --language, or that of the training table.

        Raises MasscliError if the table does not fit the options.
        """
        table = data.table(name, "train")
        # Errors in labels are reported before the model is built.
        _read_targets(table, config)
        return replace(config, language=choose_language(config.language, table, data))

    def table_dataset(self, table: Table, labeled: bool) -> Dataset:
        """Return the examples of a table, with the numbers of the right choices if `labeled`.

        Raises MasscliError if a column is missing, an example has fewer than two choices, or a label is
        wrong.
        """
        _check_table(table, self.options)
        targets = _read_targets(table, self.options) if labeled else None
        return ChoiceDataset(table, self.options, self.reader, targets)

    def text_fields(self, table: Table) -> tuple[str, ...]:
        """Return the question, if a table has one, the context and the choices."""
        names = (QUESTION, self.options.context_column, self.options.choices_column)
        return tuple(name for name in names if table.has(name))

    def data_warnings(self, dataset: Dataset) -> list[str]:
        """Return a warning with the number of truncated examples, if there are any."""
        assert isinstance(dataset, ChoiceDataset)
        return self.reader.truncation_warnings(dataset.num_truncated, len(dataset))

    def collator(self) -> ChoiceCollator:
        """Return the collator, which makes batches of contexts and choices."""
        return ChoiceCollator(
            self.reader,
            self.options.choice_first,
            auxiliary_lm=self.options.lm_weight > 0,
        )

    def scores(self, model: Transformer, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Return the scores (choices,) of each example, and the hidden states (B, L, D).

        B counts the rows of the batch, one for each choice of each example.
        """
        states = self.reader.hidden_states(model, batch)
        scores = self.head(self.reader.sequence_state(model, batch, states))[:, 0]
        choice_counts = batch.labels["choices"].ids.tolist()
        return list(torch.split(scores, choice_counts)), states

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the summed cross-entropy of the right choices and, with --lm-weight, the auxiliary loss."""
        scores_by_example, states = self.scores(model, batch)
        # Examples differ in their number of choices; padding is excluded from the softmax.
        scores = torch.nn.utils.rnn.pad_sequence(
            scores_by_example, batch_first=True, padding_value=MISSING_CHOICE
        )
        loss = F.cross_entropy(scores, batch.labels["choose"].ids, reduction="sum")
        terms = {"choose": Term(loss, loss)}
        if self.options.lm_weight:
            terms[LM_TERM] = auxiliary_lm_loss(model, batch, states)
        return terms

    def forward_outputs(self, model: Transformer, batch: Batch) -> list[ExampleOutput]:
        """Return for each example of the batch the scores of its choices: (choices,)."""
        scores_by_example, _ = self.scores(model, batch)
        return [scores.double().cpu().numpy() for scores in scores_by_example]

    def decode_predictions(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> list[Prediction]:
        """Return the most probable choice of each example as its number, counted from 0."""
        predictions = []
        for row, scores in enumerate(outputs):
            # Of equal scores the first choice counts.
            best = int(scores.argmax())
            details = {
                "label": best,
                "choice": table.strings(self.options.choices_column, row)[best],
                "probabilities": softmax(scores).tolist(),
            }
            predictions.append(Prediction(str(best), details))
        return predictions

    def compute_metrics(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> dict[str, float]:
        """Return the accuracy: the percentage of examples whose best-scored choice is right."""
        targets = _read_targets(table, self.options)
        is_right = [
            int(scores.argmax()) == target
            for scores, target in zip(outputs, targets, strict=True)
        ]
        return {"accuracy": 100 * float(np.mean(is_right))}


def _check_table(table: Table, options: ChooseOptions) -> None:
    """Raise MasscliError if context or choices are missing, or an example has fewer than two choices."""
    table.require(options.context_column, "--context-column")
    table.require(options.choices_column, "--choices-column", many=True)
    for row in range(len(table)):
        if len(table.item_rows(options.choices_column, row)) < 2:
            raise MasscliError(
                f"{table.location(row)}: has fewer than two choices",
                "add some, or leave the example out",
            )


def _read_targets(table: Table, options: ChooseOptions) -> Ids:
    """Return the number of the right choice of each example of a table, counted from 0: (N,).

    Raises MasscliError if a label does not name one of the choices.
    """
    _check_table(table, options)
    table.require(options.label_column, "--label-column")
    targets = np.zeros(len(table), np.int64)
    for row in range(len(table)):
        label = table.text(options.label_column, row)
        count = len(table.item_rows(options.choices_column, row))
        # Labels may be numbers or letters, as in SWAG and RACE.
        target = choice_index(label, count)
        if target is None:
            raise MasscliError(
                f"{table.location(row)}: {label!r} is none of its {count} choices",
                f"{options.label_column!r} must be a number from 0, or a letter from A",
            )
        targets[row] = target
    return targets
