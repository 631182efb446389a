"""The interfaces of objectives that learn from tables of labeled examples.

Validation evaluates an `EvaluableObjective`; `masscli predict` needs a `PredictiveObjective`. For each
example, the model computes an array of numbers (`forward_outputs`). From these outputs and the table, the
objective computes metrics and predictions, so that the training loop need not know what they mean.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Objective

ExampleOutput = NDArray[np.float64]
"""The numbers that the model computes for one dataset entry, such as the score of each label."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model predicts for one example of a table."""

    text: str
    """The prediction as a line of output, or as several lines for a sentence whose words are labeled."""
    details: Mapping[str, Any]
    """The prediction and its probabilities, as fields of the JSON output."""


class EvaluableObjective(Objective):
    """An objective over tables that has metrics, such as accuracy, for validation."""

    @property
    @abstractmethod
    def metric_names(self) -> tuple[str, ...]:
        """Return the names of the metrics; the first is the one that is usually reported.

        Users may choose the best checkpoint by them. Higher is better, except for names that begin with `ppl`
        or end with `loss`.
        """

    @property
    def columns(self) -> tuple[str, ...]:
        """The table columns that the objective reads, for objectives that choose them by what a table has.

        Empty for objectives whose columns are fixed by their options.
        """
        return ()

    @classmethod
    @abstractmethod
    def fill_from_data(cls, config: Any, data: DataFolder, name: str) -> Any:
        """Return a copy of the options `config`, in which what depends on the data is filled in.

        Labels, columns or the language, for example, are read from the training part of the table `name`.
        """

    @abstractmethod
    def table_dataset(self, table: Table, labeled: bool) -> Dataset:
        """Return the examples of a table as a dataset, with their labels if `labeled`.

        Raises MasscliError if the table lacks a column, or a label that is needed.
        """

    @abstractmethod
    def collator(self) -> Collator:
        """Return the collator, which makes batches of the examples of any dataset from `table_dataset`."""

    @abstractmethod
    def forward_outputs(self, model: Transformer, batch: Batch) -> list[ExampleOutput]:
        """Return an array of numbers for each example of the batch, in order.

        Metrics and predictions are computed from these arrays.
        """

    @abstractmethod
    def compute_metrics(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> dict[str, float]:
        """Return the metrics of a labeled table by name, those that `masscli score` has as it reports them.

        `outputs` are the arrays of `forward_outputs` for all entries of the table's dataset, in order.
        """

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the labeled examples of a split, and their collator.

        `max_examples` limits them to the first rows of the table.
        """
        table = data.table(self.context.dataset_name, split).head(max_examples)
        return self.table_dataset(table, labeled=True), self.collator()


class PredictiveObjective(EvaluableObjective):
    """An objective over tables that can predict labels, numbers or spans for new examples."""

    def text_fields(self, table: Table) -> tuple[str, ...]:
        """Return the fields of a table whose texts the objective reads.

        Unknown pieces are counted in them. Objectives that do not say have none.
        """
        return ()

    @abstractmethod
    def decode_predictions(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> list[Prediction]:
        """Return one prediction for each row of a table.

        `outputs` are the arrays of `forward_outputs` for all entries of the table's dataset, in order.
        """
