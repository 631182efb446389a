"""Writing from labelled examples: a summary of a text, the next turn of a dialogue (Song et al. 2019, sections 4.2 and 4.3).

Both are maximum likelihood of the target given the source, as `translate` has it, within one language, or with an encoder alone, by
pseudo-masks, as `s2s` has it (masscli/objectives/shared/pseudo_masking.py); they differ in what a source is.  A
dialogue's source is its last turns, each closed by <sep> but the last.  What is too long is cut, never left out, and counted.

Validation reports perplexity by two units: `ppl-piece`, per piece of the vocabulary, the unit of the MASS paper's dialogue table; and
`ppl-word`, the same likelihood per word of the target as white space cuts it.  The end symbol counts as one of either.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Ids
from masscli.data.batches.dataset import Collator, Dataset, Example
from masscli.data.batches.framing import Framing
from masscli.data.batches.sequences import Truncation, join_turns
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.models.transformer import Transformer
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.finetuning_base import EvaluableObjective, ExampleOutput
from masscli.objectives.shared.pseudo_masking import (
    NUM_SPECIAL_TOKENS,
    PseudoMaskingCollator,
    pseudo_mask_loss,
    uncorrupt,
)
from masscli.objectives.shared.sequence_to_sequence import sequence_loss, sequence_pair_batch
from masscli.objectives.shared.table_columns import language_of
from masscli.objectives.write.options import ConditionalGenerationOptions, RespondOptions, SummarizeOptions


def source_truncation(options: ConditionalGenerationOptions) -> Truncation:
    """What is read of a source that is written about from its text, as in training."""
    if isinstance(options, RespondOptions):
        return Truncation(options.turns, options.max_source, "end")
    return Truncation(
        0, options.max_source, options.keep if isinstance(options, SummarizeOptions) else "start"
    )


@dataclass(frozen=True, slots=True)
class LengthLimits:
    """Most tokens of a source and of a target, and whether one sequence holds both, and the target's pseudo-masks."""

    source: int
    target: int
    joined: bool

    @classmethod
    def of(cls, options: ConditionalGenerationOptions, positions: int) -> Self:
        """What the options say, as far as the model has positions for it."""
        if options.writer != "encoder":
            return cls(min(options.max_source, positions - 2), min(options.max_target, positions - 2), False)
        if (needed := options.max_source + options.max_target + NUM_SPECIAL_TOKENS) > positions:
            message = f"--max-source {options.max_source}, --max-target {options.max_target}: with {NUM_SPECIAL_TOKENS} symbols, {needed} positions"
            raise MasscliError(
                f"{message}; the model has {positions} for both",
                f"together they may be {positions - NUM_SPECIAL_TOKENS}",
            )
        return cls(options.max_source, options.max_target, True)


class SourceTargetDataset:
    """Sources that are cut to fit, and targets."""

    def __init__(self, table: Table, target: str, limits: LengthLimits) -> None:
        self.table, self.targets, self.limits = table, table.ids(target), limits

    def __len__(self) -> int:
        return len(self.table)

    def whole(self, start: int, stop: int) -> NDArray[np.int64]:
        """Lengths of the sources before any cut."""
        raise NotImplementedError

    def source(self, row: int) -> Ids:
        """A source, cut to fit."""
        raise NotImplementedError

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Both sides with two symbols each; of one sequence, its length."""
        source = np.minimum(self.whole(start, stop), self.limits.source)
        target = np.minimum(self.targets.lengths(start, stop).astype(np.int64), self.limits.target)
        return (
            np.stack([source + 2 * target + NUM_SPECIAL_TOKENS + 1], 1)
            if self.limits.joined
            else np.stack([source + 2, target + 2], 1)
        )

    @property
    def cut(self) -> tuple[int, int]:
        """How many sources and targets are cut."""
        sources, targets = self.whole(0, len(self)), self.targets.lengths(0, len(self))
        return int(np.count_nonzero(sources > self.limits.source)), int(
            np.count_nonzero(targets > self.limits.target)
        )

    def __getitem__(self, row: int) -> Example:
        return Example(row, (self.source(row), self.targets[row][: self.limits.target]))


class SummarizationDataset(SourceTargetDataset):
    """Sources are texts."""

    def __init__(self, table: Table, options: SummarizeOptions, limits: LengthLimits) -> None:
        super().__init__(table, options.target_column, limits)
        self.sources, self.keep = table.ids(options.source_column), options.keep

    def whole(self, start: int, stop: int) -> NDArray[np.int64]:
        return self.sources.lengths(start, stop).astype(np.int64)

    def source(self, row: int) -> Ids:
        ids = self.sources[row]
        return ids[: self.limits.source] if self.keep == "start" else ids[-self.limits.source :]


class DialogueDataset(SourceTargetDataset):
    """Sources are the latest turns of a dialogue."""

    def __init__(self, table: Table, options: RespondOptions, limits: LengthLimits, sep: int) -> None:
        super().__init__(table, options.response_column, limits)
        self.field, self.turns, self.sep = options.context_column, options.turns, sep
        self.pieces = table.ids(self.field)

    def whole(self, start: int, stop: int) -> NDArray[np.int64]:
        lengths = np.concatenate([[0], np.cumsum(self.pieces.lengths(), dtype=np.int64)])
        ends = self.table.item_offsets[self.field][start : stop + 1]
        first = np.maximum(ends[:-1], ends[1:] - self.turns)
        found: NDArray[np.int64] = lengths[ends[1:]] - lengths[first] + np.maximum(ends[1:] - first - 1, 0)
        return found

    def source(self, row: int) -> Ids:
        items = self.table.item_rows(self.field, row)[-self.turns :]
        return join_turns([self.pieces[at] for at in items], self.sep)[-self.limits.source :]


@dataclass(frozen=True)
class SourceTargetCollator:
    """Frames sources and targets."""

    framing: Framing
    language: str

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        sources = [self.framing.encoder_input(e.fields[0], self.language) for e in examples]
        sides = self.language, self.language
        return sequence_pair_batch(
            self.framing,
            sources,
            [e.fields[1] for e in examples],
            sides,
            "write",
            [e.number for e in examples],
        )


class ConditionalGeneration(EvaluableObjective):
    """Write the target."""

    def __init__(self, config: ConditionalGenerationOptions, context: ObjectiveContext, target: str) -> None:
        super().__init__(context)
        self.writing, self.target = config, target
        self.limits = LengthLimits.of(config, context.model.max_positions)
        self.pseudo = (
            PseudoMaskingCollator.create(config, context, config.language, "write")
            if self.limits.joined
            else None
        )

    @property
    def weights(self) -> Mapping[str, float]:
        """One term."""
        return {"write": 1.0}

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Perplexities."""
        return ("ppl-piece", "ppl-word")

    @abstractmethod
    def sources(self, table: Table) -> SourceTargetDataset:
        """The view of a table whose columns are known to be there."""

    @abstractmethod
    def source_line(self, table: Table, row: int) -> str:
        """A source as `masscli generate` reads it."""

    def lines(self, table: Table) -> tuple[list[str], list[str]]:
        """Sources, and targets."""
        rows = range(len(table))
        return [self.source_line(table, row) for row in rows], [table.text(self.target, row) for row in rows]

    def table_dataset(self, table: Table, labelled: bool) -> SourceTargetDataset:
        return self.sources(table)

    def data_warnings(self, view: Dataset) -> list[str]:
        assert isinstance(view, SourceTargetDataset)
        counts = zip(("source", "target"), view.cut, (self.limits.source, self.limits.target), strict=True)
        return [
            f"{cut} of {len(view)} {side}s are cut to {most} tokens (--max-{side})"
            for side, cut, most in counts
            if cut
        ]

    def collator(self) -> Collator:
        """Frames and pads."""
        return self.pseudo or SourceTargetCollator(self.context.framing, self.writing.language)

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """Outside of training nothing of the target is corrupted."""
        return batch if self.training or self.pseudo is None else uncorrupt(batch, "write")

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy of the target."""
        if self.pseudo is not None:
            return {"write": pseudo_mask_loss(model, batch, "write", self.writing.label_smoothing)}
        return {"write": sequence_loss(model, batch, "write", self.writing.label_smoothing)}

    def forward_outputs(self, model: Transformer, batch: Batch) -> list[ExampleOutput]:
        """For each example: the negative log-likelihood of its target, in nats, and how many pieces that is."""
        memory, stack = model.encode(batch.source), "encoder"
        hidden = memory.hidden
        if batch.target is not None:
            hidden, stack = model.decode(batch.target, memory), "decoder"
        wanted = batch.labels["write"]
        lengths = torch.bincount(wanted.positions // hidden.shape[1], minlength=len(hidden)).tolist()
        each = torch.split(torch.arange(len(wanted.ids), device=hidden.device), lengths)
        states = hidden.flatten(0, 1)
        losses = [
            float(model.loss(states[wanted.positions[at]], wanted.ids[at], stack=stack)[1]) for at in each
        ]
        return [np.array([loss, length]) for loss, length in zip(losses, lengths, strict=True)]

    def compute_metrics(self, table: Table, outputs: Sequence[ExampleOutput]) -> dict[str, float]:
        nats, pieces = np.sum(outputs, 0).tolist()
        lengths = np.maximum(table.ids(self.target).lengths(0, len(table)), 1)
        read = np.minimum(
            1.0, self.limits.target / lengths
        )  # of a target that is cut, as many words as pieces
        words = sum(
            len(table.text(self.target, row).split()) * share + 1 for row, share in enumerate(read.tolist())
        )
        return {
            "ppl-piece": math.exp(min(700.0, nats / pieces)),
            "ppl-word": math.exp(min(700.0, nats / words)),
        }


class Summarize(ConditionalGeneration):
    """Write a summary."""

    def __init__(self, config: SummarizeOptions, context: ObjectiveContext) -> None:
        super().__init__(config, context, config.target_column)
        self.options = config

    @classmethod
    def fill_from_data(cls, config: SummarizeOptions, data: DataFolder, name: str) -> SummarizeOptions:
        """The language."""
        return replace(config, language=language_of(config.language, data.table(name, "train"), data))

    def sources(self, table: Table) -> SourceTargetDataset:
        table.require(self.options.source_column, "--source-column")
        table.require(self.options.target_column, "--target-column")
        return SummarizationDataset(table, self.options, self.limits)

    def source_line(self, table: Table, row: int) -> str:
        return table.text(self.options.source_column, row)


class Respond(ConditionalGeneration):
    """Write the next turn."""

    def __init__(self, config: RespondOptions, context: ObjectiveContext) -> None:
        super().__init__(config, context, config.response_column)
        self.options = config

    @classmethod
    def fill_from_data(cls, config: RespondOptions, data: DataFolder, name: str) -> RespondOptions:
        """The language."""
        return replace(config, language=language_of(config.language, data.table(name, "train"), data))

    def sources(self, table: Table) -> SourceTargetDataset:
        table.require(self.options.context_column, "--context-column", many=True)
        table.require(self.options.response_column, "--response-column")
        return DialogueDataset(table, self.options, self.limits, self.context.framing.vocab.sep)

    def source_line(self, table: Table, row: int) -> str:
        return "\t".join(turn.replace("\t", " ") for turn in table.strings(self.options.context_column, row))
