"""Regression on a text or a pair of texts: squared error of one number (Devlin et al. 2019 on STS-B).

The head learns numbers scaled to [0, 1] by the ends of the training part's scale, as ELECTRA does; predictions are on the scale of the
data and are not clipped, since clipping would change correlations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.metrics import label_measures as measures
from masscli.objectives.labelled.classify import Texts
from masscli.objectives.labelled.options import RegressOptions
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.finetuning_base import ExampleOutput, Prediction
from masscli.objectives.shared.table_columns import language_of, text_columns


class Regress(Texts):
    """Say a number."""

    term = "regress"
    metric_names: ClassVar[tuple[str, ...]] = ("pearson", "spearman")

    def __init__(self, config: RegressOptions, context: ObjectiveContext) -> None:
        super().__init__(config, context, 1)
        assert config.low is not None and config.high is not None  # `fill_from_data` has filled them in
        self.options, self.low, self.span = config, config.low, config.high - config.low

    @classmethod
    def fill_from_data(cls, config: RegressOptions, data: DataFolder, name: str) -> RegressOptions:
        """Columns, language, scale."""
        table = data.table(name, "train")
        found = _numbers(table, config.label_column)
        low = float(found.min()) if config.low is None else config.low
        high = float(found.max()) if config.high is None else config.high
        if not low < high:
            raise MasscliError(
                f"{table.path}: all numbers of {config.label_column!r} are {low:g}",
                "there is nothing to learn",
            )
        columns = text_columns(config.text_columns, table, config.label_column)
        return replace(
            config,
            low=low,
            high=high,
            text_columns=columns,
            language=language_of(config.language, table, data),
        )

    def targets(self, table: Table) -> NDArray[np.float64]:
        found: NDArray[np.float64] = (_numbers(table, self.options.label_column) - self.low) / self.span
        return found

    def loss(self, scores: Tensor, targets: Tensor) -> Term:
        loss = F.mse_loss(scores[:, 0], targets.float(), reduction="sum")
        return Term(loss, loss)

    def decode_predictions(self, table: Table, outputs: Sequence[ExampleOutput]) -> list[Prediction]:
        values = [float(scores[0]) * self.span + self.low for scores in outputs]
        return [Prediction(f"{value:.4f}", {"value": value}) for value in values]

    def compute_metrics(self, table: Table, outputs: Sequence[ExampleOutput]) -> dict[str, float]:
        gold, predicted = (
            _numbers(table, self.options.label_column).tolist(),
            [float(scores[0]) for scores in outputs],
        )
        return {"pearson": measures.pearson(gold, predicted), "spearman": measures.spearman(gold, predicted)}


def _numbers(table: Table, field: str) -> NDArray[np.float64]:
    """The numbers of a column; what is none is named with its place."""
    table.require(field, "--label-column")
    found = np.zeros(len(table))
    for row in range(len(table)):
        text = table.text(field, row)
        try:
            found[row] = float(text)
        except ValueError:
            found[row] = math.nan
        if not math.isfinite(found[row]):
            hint = f"the column {field!r} must hold numbers; choose another with --label-column"
            raise MasscliError(f"{table.location(row)}: {text!r} is not a number", hint)
    return found
