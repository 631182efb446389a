"""The common part of classification and regression: a head on one hidden state that stands for the texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.models.transformer import Transformer
from masscli.objectives.labeled.auxiliary_lm import (
    LM_TERM,
    auxiliary_lm_loss,
    check_auxiliary_lm,
    term_weights,
)
from masscli.objectives.labeled.options import TextTaskOptions
from masscli.objectives.labeled.text_dataset import (
    DoubledPairsDataset,
    TextCollator,
    TextDataset,
)
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.classification_head import ClassificationHead
from masscli.objectives.shared.evaluable_objective import (
    ExampleOutput,
    PredictiveObjective,
)
from masscli.objectives.shared.sequence_reader import SequenceReader
from masscli.objectives.shared.table_columns import fields_of_texts


class TextObjective(PredictiveObjective):
    """The base class of objectives whose head reads one hidden state for an example of one or two texts.

    `num_outputs` is the number of scores of the head. Subclasses define the targets and the loss.
    """

    term: ClassVar[str]
    """The name of the task's loss term."""
    ignored_targets: ClassVar[tuple[int, ...]] = ()
    """Values of `targets` that say that an example has no target, so that it adds nothing to the loss."""

    def __init__(
        self, config: TextTaskOptions, context: ObjectiveContext, num_outputs: int
    ) -> None:
        super().__init__(context)
        self.options = config
        self.reader = SequenceReader.from_options(config, context)
        # A single text has no second order.
        if len(config.text_columns) != 2:
            if config.both_orders:
                raise MasscliError(
                    "--both-orders: is for pairs, and the task has one text",
                    "leave it out",
                )
            if config.double_unordered:
                raise MasscliError(
                    "--double-unordered: is for pairs, and the task has one text",
                    "leave it out",
                )
        check_auxiliary_lm(config, self.reader)
        self.head = ClassificationHead(config, context.model.dim, num_outputs)

    @property
    def weights(self) -> Mapping[str, float]:
        """The weights of the loss terms: 1 for the task, and --lm-weight for `lm` if it is above 0."""
        return term_weights(self.term, self.options)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the table columns that hold the texts and the label."""
        return (*self.options.text_columns, self.options.label_column)

    def text_fields(self, table: Table) -> tuple[str, ...]:
        """Return the columns of a table that hold the one or two texts.

        Raises MasscliError if the table does not have them.
        """
        return fields_of_texts(
            self.options.text_columns, table, self.options.label_column
        )

    @abstractmethod
    def targets(self, table: Table) -> NDArray[Any]:
        """Return the target of each example in a table, a label id or a number: (N,)."""

    @abstractmethod
    def loss(self, scores: Tensor, targets: Tensor) -> Term:
        """Return the loss of scores (N, outputs) for targets (N,), summed over examples."""

    def table_dataset(self, table: Table, labeled: bool) -> TextDataset:
        """Return the texts of a table, with their targets if `labeled`.

        Raises MasscliError if a column is missing, or if a target is none that can be learned.
        """
        targets = self.targets(table) if labeled else None
        fields = self.text_fields(table)
        return TextDataset(table, fields, self.reader, targets, self.ignored_targets)

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the labeled examples of a split, and their collator.

        With --double-unordered every pair is used twice, in both orders. `max_examples` limits the rows
        of the table that are read.
        """
        table = data.table(self.context.dataset_name, split).head(max_examples)
        original = self.table_dataset(table, labeled=True)
        if not self.options.double_unordered:
            return original, self.collator()
        # The reverse half has the same targets, since the task has no order.
        fields = self.text_fields(table)[::-1]
        reverse = TextDataset(
            table, fields, self.reader, original.targets, self.ignored_targets
        )
        return DoubledPairsDataset(original, reverse), self.collator()

    def batch_lengths(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of tokens (N,) that examples of these sizes (N, 1) take up in a batch.

        With --both-orders an example is two sequences.
        """
        sequences = 2 if self.options.both_orders else 1
        return sequences * sizes[:, 0]

    def collator(self) -> TextCollator:
        """Return the collator, which makes batches of texts."""
        return TextCollator(
            self.term,
            self.reader,
            self.options.both_orders,
            auxiliary_lm=self.options.lm_weight > 0,
        )

    def data_warnings(self, dataset: Dataset) -> list[str]:
        """Return a warning with the number of truncated examples, if there are any."""
        assert isinstance(dataset, TextDataset | DoubledPairsDataset)
        return self.reader.truncation_warnings(dataset.num_truncated, len(dataset))

    def scores(self, model: Transformer, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the scores (N, outputs) of the N examples of a batch, and the hidden states (B, L, D).

        B is the number of sequences: 2 N with --both-orders, otherwise N.
        """
        states = self.reader.hidden_states(model, batch)
        summary = self.reader.sequence_state(model, batch, states)
        if self.options.both_orders:
            # The collator put the reversed pairs into the second half of the batch.
            original, reverse = summary.chunk(2)
            summary = original + reverse
        scores: Tensor = self.head(summary)
        return scores, states

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the summed loss of the task and, with --lm-weight, that of the auxiliary language model."""
        scores, states = self.scores(model, batch)
        labels = batch.labels[self.term]
        terms = {self.term: self.loss(scores[labels.positions], labels.ids)}
        if self.options.lm_weight:
            terms[LM_TERM] = auxiliary_lm_loss(model, batch, states)
        return terms

    def forward_outputs(self, model: Transformer, batch: Batch) -> list[ExampleOutput]:
        """Return for each example of the batch the scores of the head: (outputs,)."""
        scores, _ = self.scores(model, batch)
        return list(scores.double().cpu().numpy())
