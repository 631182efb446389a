"""Conditional generation: maximum likelihood of a target given its source (see README.md)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.metrics.perplexity import perplexity
from masscli.models.transformer import Transformer
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.evaluable_objective import (
    EvaluableObjective,
    ExampleOutput,
)
from masscli.objectives.shared.pseudo_masking import (
    PseudoMaskingCollator,
    pseudo_mask_loss,
    uncorrupt,
)
from masscli.objectives.shared.sequence_to_sequence import sequence_loss
from masscli.objectives.shared.table_columns import choose_language
from masscli.objectives.write.length_limits import LengthLimits
from masscli.objectives.write.options import ConditionalGenerationOptions
from masscli.objectives.write.source_target_dataset import (
    SourceTargetCollator,
    SourceTargetDataset,
)

TERM = "write"
"""The name of the loss term of these tasks."""


class ConditionalGeneration(EvaluableObjective):
    """The base class of tasks that generate a target text from a source; subclasses define the source.

    A decoder generates, or an encoder alone by pseudo-masks (masscli/objectives/shared/pseudo_masking.py).
    """

    def __init__(
        self,
        config: ConditionalGenerationOptions,
        context: ObjectiveContext,
        target_column: str,
    ) -> None:
        super().__init__(context)
        self.options = config
        self.target_column = target_column
        self.limits = LengthLimits.from_options(config, context.model, context.framing)
        self.predicts_from_source = not self.limits.one_sequence
        self.pseudo_masking: PseudoMaskingCollator | None = None
        if self.limits.one_sequence:
            self.pseudo_masking = PseudoMaskingCollator.create(
                config, context, config.language, TERM
            )

    @classmethod
    def fill_from_data(
        cls, config: ConditionalGenerationOptions, data: DataFolder, name: str
    ) -> ConditionalGenerationOptions:
        """Return the options with `language` filled in: --language, or that of the training table.

        Raises MasscliError if the data lack the language of --language.
        """
        table = data.table(name, "train")
        return replace(config, language=choose_language(config.language, table, data))

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of the only loss term, `write`, which is 1."""
        return {TERM: 1.0}

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of the metrics: perplexity per token of the vocabulary, and per word."""
        return ("ppl-piece", "ppl-word")

    @abstractmethod
    def table_dataset(self, table: Table, labeled: bool) -> SourceTargetDataset:
        """Return the sources and targets of a table. Raises MasscliError if it lacks a column."""

    @abstractmethod
    def source_line(self, table: Table, row: int) -> str:
        """Return the source text of the example in a row, in the form in which `Translator` reads it."""

    def sources_and_references(self, table: Table) -> tuple[list[str], list[str]]:
        """Return the sources of a table, in the form that `Translator` reads, and the target texts."""
        rows = range(len(table))
        sources = [self.source_line(table, row) for row in rows]
        references = [table.text(self.target_column, row) for row in rows]
        return sources, references

    def data_warnings(self, dataset: Dataset) -> list[str]:
        """Return warnings that say how many sources and how many targets are truncated."""
        assert isinstance(dataset, SourceTargetDataset)
        num_sources, num_targets = dataset.num_truncated()
        warnings = []
        if num_sources:
            warnings.append(
                f"{num_sources} of {len(dataset)} sources are truncated to {self.limits.source} tokens"
                " (--max-source)"
            )
        if num_targets:
            warnings.append(
                f"{num_targets} of {len(dataset)} targets are truncated to {self.limits.target} tokens"
                " (--max-target)"
            )
        return warnings

    def collator(self) -> Collator:
        """Return the collator, which adds pseudo-masks if an encoder alone generates."""
        if self.pseudo_masking is not None:
            return self.pseudo_masking
        return SourceTargetCollator(self.context.framing, self.options.language, TERM)

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """Return the batch, in validation with uncorrupted targets if they are predicted at pseudo-masks."""
        if self.pseudo_masking is None or self.training:
            return batch
        # A perplexity should be that of the text, not that of its corruption.
        return uncorrupt(batch, TERM)

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the cross-entropy of the target tokens, summed, as the loss term `write`."""
        if self.pseudo_masking is not None:
            return {
                TERM: pseudo_mask_loss(model, batch, TERM, self.options.label_smoothing)
            }
        return {TERM: sequence_loss(model, batch, TERM, self.options.label_smoothing)}

    def forward_outputs(self, model: Transformer, batch: Batch) -> list[ExampleOutput]:
        """Return two numbers for each example: the negative log-likelihood of its target and its length.

        The likelihood is in nats; the length is in tokens and includes the end symbol.
        """
        memory = model.encode(batch.source)
        # An encoder that generates alone has the target in its own sequence.
        if batch.target is None:
            stack = "encoder"
            states = memory.hidden
        else:
            stack = "decoder"
            states = model.decode(batch.target, memory)
        labels = batch.labels[TERM]
        # Labels are in the order of the rows, so that those of each example can be split off.
        rows = labels.positions // states.shape[1]
        num_tokens = torch.bincount(rows, minlength=len(states)).tolist()
        states = states.flatten(0, 1)
        label_numbers = torch.arange(len(labels.ids), device=states.device)
        outputs = []
        for numbers in torch.split(label_numbers, num_tokens):
            positions = labels.positions[numbers]
            _, nll = model.loss(states[positions], labels.ids[numbers], stack=stack)
            outputs.append(np.array([float(nll), len(numbers)]))
        return outputs

    def compute_metrics(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> dict[str, float]:
        """Return the perplexity of the targets per token (`ppl-piece`) and per white-space word (`ppl-word`).

        The end of a target counts as one token and as one word. If a target is truncated, the number of its
        words is reduced in the same proportion as that of its tokens.
        """
        nats, num_tokens = np.sum(outputs, 0).tolist()
        # For an empty target there is no proportion of tokens.
        target_lengths = np.maximum(
            table.ids(self.target_column).lengths(0, len(table)), 1
        )
        # The number of words in the remaining tokens is not known exactly.
        shares_read = np.minimum(1.0, self.limits.target / target_lengths).tolist()
        num_words = 0.0
        for row, share_read in enumerate(shares_read):
            num_words += (
                len(table.text(self.target_column, row).split()) * share_read + 1
            )
        return {
            "ppl-piece": perplexity(nats, num_tokens),
            "ppl-word": perplexity(nats, num_words),
        }
