"""Regression on a text or a pair of texts: squared error of one number (Devlin et al. 2019 on STS-B).

The head learns numbers scaled to [0, 1] by the smallest and the largest number of the training part, or by
--low and --high, as ELECTRA does. Predictions are on the scale of the data. They are not clipped, since that
would change correlations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from masscli.core.digits import parse_number
from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.metrics import label_measures
from masscli.objectives.labeled.options import RegressOptions
from masscli.objectives.labeled.text_objective import TextObjective
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.evaluable_objective import ExampleOutput, Prediction
from masscli.objectives.shared.table_columns import choose_language, find_text_columns


class Regress(TextObjective):
    """Regression: predict a number for a text or a pair of texts."""

    options: RegressOptions
    term = "regress"
    metric_names: ClassVar[tuple[str, ...]] = ("pearson", "spearman")

    def __init__(self, config: RegressOptions, context: ObjectiveContext) -> None:
        super().__init__(config, context, num_outputs=1)
        # `fill_from_data` has set both ends of the scale.
        assert config.low is not None
        assert config.high is not None
        self.low = config.low
        self.range = config.high - config.low

    @classmethod
    def fill_from_data(
        cls, config: RegressOptions, data: DataFolder, name: str
    ) -> RegressOptions:
        """Return a copy of the options, in which what depends on the data is filled in.

        These are the text columns, the language, and the smallest and largest number (`low`, `high`), all
        from the training part of the table `name`. Raises MasscliError if a value is not a number, or if
        `high` is not above `low`, as when all numbers are equal.
        """
        table = data.table(name, "train")
        # The scale is that of the training split, unless the user gives it.
        numbers = _read_numbers(table, config.label_column)
        low = float(numbers.min()) if config.low is None else config.low
        high = float(numbers.max()) if config.high is None else config.high
        # Scaling to [0, 1] would divide by zero.
        if numbers.min() == numbers.max():
            raise MasscliError(
                f"{table.path}: all numbers of {config.label_column!r} are {numbers[0]:g}",
                "there is nothing to learn",
            )
        if not low < high:
            raise MasscliError(
                f"--low {low:g}, --high {high:g}: the smallest value must be below the largest",
                f"the numbers of {config.label_column!r} are {numbers.min():g} to {numbers.max():g}",
            )
        return replace(
            config,
            low=low,
            high=high,
            text_columns=find_text_columns(
                config.text_columns, table, config.label_column
            ),
            language=choose_language(config.language, table, data),
        )

    def targets(self, table: Table) -> NDArray[np.float64]:
        """Return the numbers (N,) of a table, scaled so that --low becomes 0 and --high becomes 1."""
        numbers = _read_numbers(table, self.options.label_column)
        scaled: NDArray[np.float64] = (numbers - self.low) / self.range
        return scaled

    def loss(self, scores: Tensor, targets: Tensor) -> Term:
        """Return the squared error of scores (N, 1) for the scaled numbers `targets` (N,), summed."""
        loss = F.mse_loss(scores[:, 0], targets.float(), reduction="sum")
        return Term(loss, loss)

    def decode_predictions(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> list[Prediction]:
        """Return the predicted number of each example, on the scale of the data."""
        predictions = []
        for scores in outputs:
            value = float(scores[0]) * self.range + self.low
            predictions.append(Prediction(f"{value:.4f}", {"value": value}))
        return predictions

    def compute_metrics(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> dict[str, float]:
        """Return the correlations of predicted and true numbers, times 100: `pearson` and `spearman`."""
        # Correlations do not change with the scale, so predictions stay scaled.
        gold = _read_numbers(table, self.options.label_column).tolist()
        predicted = [float(scores[0]) for scores in outputs]
        return {
            "pearson": 100 * label_measures.pearson(gold, predicted),
            "spearman": 100 * label_measures.spearman(gold, predicted),
        }


def _read_numbers(table: Table, field: str) -> NDArray[np.float64]:
    """Return the numbers (N,) of a table's column `field`.

    Raises MasscliError if a value is not a finite number.
    """
    table.require(field, "--label-column")
    numbers = np.zeros(len(table))
    for row in range(len(table)):
        text = table.text(field, row)
        number = parse_number(text)
        if number is None:
            raise MasscliError(
                f"{table.location(row)}: {text!r} is not a number",
                f"choose another column with --label-column, or leave such rows out: masscli preprocess "
                f"--check-columns {field}=number --bad-rows skip",
            )
        numbers[row] = number
    return numbers
