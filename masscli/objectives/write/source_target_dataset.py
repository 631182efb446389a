"""The dataset of sources and targets of generation tasks, and its collator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Batch, Ids
from masscli.data.batches.dataset import SPECIAL_TOKENS, Example
from masscli.data.batches.framing import Framing
from masscli.data.storage.tables import Table
from masscli.objectives.shared.batching import example_fields, example_numbers
from masscli.objectives.shared.pseudo_masking import NUM_SPECIAL_TOKENS
from masscli.objectives.shared.sequence_to_sequence import sequence_pair_batch
from masscli.objectives.write.length_limits import LengthLimits


class SourceTargetDataset(ABC):
    """Examples of a source and a target, token ids truncated to `limits`; subclasses define the source."""

    def __init__(self, table: Table, target_column: str, limits: LengthLimits) -> None:
        self.table = table
        self.targets = table.ids(target_column)
        self.limits = limits

    def __len__(self) -> int:
        return len(self.table)

    @abstractmethod
    def source_lengths(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the number of tokens (stop - start,) of each source, before truncation.

        Start and end symbols are not counted.
        """

    @abstractmethod
    def truncated_source(self, row: int) -> Ids:
        """Return the token ids of the source in a row, truncated to the limit of sources."""

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the lengths of source and target, with room for special tokens: (stop - start, 2).

        If an encoder reads both as one sequence, return the length of that sequence: (stop - start, 1). It
        includes the pseudo-masks of UniLMv2, one for each target token and one for the end symbol.
        """
        source = np.minimum(self.source_lengths(start, stop), self.limits.source)
        target = np.minimum(
            self.targets.lengths(start, stop).astype(np.int64), self.limits.target
        )
        if self.limits.one_sequence:
            lengths: NDArray[np.int64] = source + 2 * target + NUM_SPECIAL_TOKENS + 1
            return lengths[:, None]
        # Encoder and decoder read sequences of their own.
        return np.stack([source + SPECIAL_TOKENS, target + SPECIAL_TOKENS], 1)

    def num_truncated(self) -> tuple[int, int]:
        """Return how many sources and how many targets are truncated."""
        source_lengths = self.source_lengths(0, len(self))
        target_lengths = self.targets.lengths(0, len(self))
        num_sources = int(np.count_nonzero(source_lengths > self.limits.source))
        num_targets = int(np.count_nonzero(target_lengths > self.limits.target))
        return num_sources, num_targets

    def __getitem__(self, row: int) -> Example:
        return Example(
            row, (self.truncated_source(row), self.targets[row][: self.limits.target])
        )


@dataclass(frozen=True)
class SourceTargetCollator:
    """Make batches with sources for the encoder and targets, in the same language, for the decoder."""

    framing: Framing
    language: str
    term: str

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        sources = [
            self.framing.encoder_input(ids, self.language)
            for ids in example_fields(examples, 0)
        ]
        targets = example_fields(examples, 1)
        languages = (self.language, self.language)
        numbers = example_numbers(examples)
        return sequence_pair_batch(
            self.framing, sources, targets, languages, self.term, numbers
        )
