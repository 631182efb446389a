"""The dataset of examples with one or two texts and a target, and its collator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from masscli.data.batches.batch import Batch, Labels
from masscli.data.batches.dataset import Example
from masscli.data.batches.sequences import truncated_pair_lengths
from masscli.data.storage.tables import Table
from masscli.objectives.labeled.auxiliary_lm import LM_TERM, next_token_labels
from masscli.objectives.shared.sequence_reader import SequenceReader


class TextDataset:
    """Examples of one or two texts, truncated to fit together, and a target if there is one.

    `fields` are the names of the table columns with the texts. `targets` (N,) holds a label id or a number
    for each example, or is None if there are no labels. The fields of an example are its texts and an array
    with its target, which is empty without labels, and if the target is among `ignored_targets`.
    """

    def __init__(
        self,
        table: Table,
        fields: Sequence[str],
        reader: SequenceReader,
        targets: NDArray[Any] | None,
        ignored_targets: tuple[int, ...] = (),
    ) -> None:
        self.table = table
        self.targets = targets
        self.ignored_targets = ignored_targets
        self.columns = [table.ids(field) for field in fields]
        self.num_special_tokens = reader.pair_format.num_special_tokens(len(fields))
        self.max_text_tokens = reader.max_length - self.num_special_tokens

    def __len__(self) -> int:
        return len(self.table)

    def text_lengths(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the number of tokens of each text after truncation: (stop - start, texts)."""
        lengths = [
            column.lengths(start, stop).astype(np.int64) for column in self.columns
        ]
        if len(lengths) == 1:
            return np.minimum(lengths[0], self.max_text_tokens)[:, None]
        return np.stack(
            truncated_pair_lengths(lengths[0], lengths[1], self.max_text_tokens), 1
        )

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the number of tokens of each sequence, special tokens included: (stop - start, 1)."""
        text_tokens = self.text_lengths(start, stop).sum(1, keepdims=True)
        sizes: NDArray[np.int64] = text_tokens + self.num_special_tokens
        return sizes

    @property
    def num_truncated(self) -> int:
        """The number of examples whose texts are truncated."""
        lengths = np.sum(
            [column.lengths(0, len(self)) for column in self.columns], axis=0
        )
        return int(np.count_nonzero(lengths > self.max_text_tokens))

    def __getitem__(self, row: int) -> Example:
        fields: list[NDArray[Any]] = []
        lengths = self.text_lengths(row, row + 1)[0]
        for column, length in zip(self.columns, lengths, strict=True):
            fields.append(column[row][:length])
        target: NDArray[Any] = np.zeros(0, np.int64)
        if self.targets is not None and self.targets[row] not in self.ignored_targets:
            target = self.targets[row : row + 1]
        return Example(row, (*fields, target))


class DoubledPairsDataset:
    """The examples of a dataset of pairs, followed by the same pairs in the reverse order."""

    def __init__(self, original: TextDataset, reverse: TextDataset) -> None:
        self.original = original
        self.reverse = reverse

    def __len__(self) -> int:
        return len(self.original) + len(self.reverse)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the number of tokens of each sequence, special tokens included: (stop - start, 1)."""
        count = len(self.original)
        # A range of examples may be in one half, or extend from the first into the second.
        original_sizes = self.original.sizes(min(start, count), min(stop, count))
        reverse_sizes = self.reverse.sizes(max(start - count, 0), max(stop - count, 0))
        return np.concatenate([original_sizes, reverse_sizes])

    @property
    def num_truncated(self) -> int:
        """The number of examples whose texts are truncated."""
        return self.original.num_truncated + self.reverse.num_truncated

    def __getitem__(self, row: int) -> Example:
        count = len(self.original)
        if row < count:
            return self.original[row]
        # Examples of the two halves must have different numbers.
        return self.reverse[row - count]._replace(number=row)


@dataclass(frozen=True)
class TextCollator:
    """Makes batches of the examples of a TextDataset.

    With `both_orders`, row n + B of a batch of B examples holds the pair of row n in the reverse order. The
    labels of the loss term `term` are the targets, and their positions the rows of their examples. With
    `auxiliary_lm` there are also labels `lm` for the auxiliary language model.
    """

    term: str
    reader: SequenceReader
    both_orders: bool
    auxiliary_lm: bool

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        texts = [example.fields[:-1] for example in examples]
        targets = [example.fields[-1] for example in examples]
        join = self.reader.pair_format.join
        sequences = [join(*pair) for pair in texts]
        if self.both_orders:
            sequences += [join(*reversed(pair)) for pair in texts]
        batch = self.reader.collate(sequences, examples)
        # Examples that are not labeled, or whose target is ignored, have an empty one.
        rows = [row for row, target in enumerate(targets) if len(target)]
        labels = {
            self.term: Labels(
                torch.from_numpy(np.concatenate(targets)),
                torch.tensor(rows, dtype=torch.int64),
            )
        }
        counts = {self.term: float(len(rows))}
        if self.auxiliary_lm:
            labels[LM_TERM] = next_token_labels(batch.source)
            counts[LM_TERM] = float(len(sequences))
        return replace(batch, labels=labels, counts=counts)
