"""Summarization: write a summary of a text (Song et al. 2019, section 4.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Ids
from masscli.data.storage.tables import Table
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.write.conditional_generation import ConditionalGeneration
from masscli.objectives.write.length_limits import LengthLimits
from masscli.objectives.write.options import SummarizeOptions
from masscli.objectives.write.source_target_dataset import SourceTargetDataset


class SummarizationDataset(SourceTargetDataset):
    """Texts and their summaries; if a text is too long, its start or its end is kept, as --keep says."""

    def __init__(
        self, table: Table, options: SummarizeOptions, limits: LengthLimits
    ) -> None:
        super().__init__(table, options.target_column, limits)
        self.sources = table.ids(options.source_column)
        self.keep = options.keep

    def source_lengths(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the lengths (stop - start,) of the texts in tokens, before truncation."""
        return self.sources.lengths(start, stop).astype(np.int64)

    def truncated_source(self, row: int) -> Ids:
        """Return the token ids of the text in a row, truncated to the limit of sources."""
        ids = self.sources[row]
        if self.keep == "start":
            return ids[: self.limits.source]
        return ids[-self.limits.source :]


class Summarize(ConditionalGeneration):
    """Summarization: generate a summary of a text."""

    options: SummarizeOptions

    def __init__(self, config: SummarizeOptions, context: ObjectiveContext) -> None:
        super().__init__(config, context, config.target_column)

    def table_dataset(self, table: Table, labeled: bool) -> SummarizationDataset:
        """Return the texts and summaries of a table. Raises MasscliError if it lacks a column."""
        table.require(self.options.source_column, "--source-column")
        table.require(self.options.target_column, "--target-column")
        return SummarizationDataset(table, self.options, self.limits)

    def source_line(self, table: Table, row: int) -> str:
        """Return the text to summarize in a row of a table."""
        return table.text(self.options.source_column, row)
