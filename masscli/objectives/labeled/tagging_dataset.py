"""The dataset of sentences with a label for each word, and its collator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from masscli.data.batches.batch import Batch, Ids, Labels
from masscli.data.batches.dataset import Example
from masscli.data.storage.tables import Table
from masscli.objectives.labeled.labels import UNKNOWN_LABEL
from masscli.objectives.shared.batching import example_fields, flatten_positions
from masscli.objectives.shared.corruption import Bools
from masscli.objectives.shared.sequence_reader import SequenceReader


class TaggingDataset:
    """Sentences of words with a label each, truncated to fit.

    The fields of an example are the token ids of a sentence, the index among them of the first token of each
    word that is read, and, if `label_ids` is given, the label ids of these words. A word is read if its first
    token fits; a word without tokens is not. `label_ids` holds for each sentence an array with the label id
    of each of its words, or is None.
    """

    def __init__(
        self,
        table: Table,
        word_column: str,
        reader: SequenceReader,
        label_ids: Sequence[Ids] | None,
    ) -> None:
        self.table = table
        self.word_column = word_column
        self.label_ids = label_ids
        self.num_special_tokens = reader.pair_format.num_special_tokens(1)
        self.max_tokens = reader.max_length - self.num_special_tokens
        self.token_ids = table.ids(word_column)
        # Of word n of all sentences, the tokens are number token_offsets[n] to token_offsets[n + 1] of all
        # tokens.
        self.token_offsets = np.concatenate(
            [[0], np.cumsum(self.token_ids.lengths(), dtype=np.int64)]
        )

    def __len__(self) -> int:
        return len(self.table)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the number of tokens of each sequence, special tokens included: (stop - start, 1)."""
        word_offsets = self.table.item_offsets[self.word_column]
        first_tokens = self.token_offsets[word_offsets[start:stop]]
        last_tokens = self.token_offsets[word_offsets[start + 1 : stop + 1]]
        num_tokens = np.minimum(last_tokens - first_tokens, self.max_tokens)
        sizes: NDArray[np.int64] = (num_tokens + self.num_special_tokens)[:, None]
        return sizes

    def words_read(self, row: int) -> Ids:
        """Return which words of the sentence in a row the model reads: their numbers, counted from 0."""
        fits, has_tokens = self._fit_and_tokens(row)
        words: Ids = np.flatnonzero(fits & has_tokens)
        return words

    def num_unread_words(self) -> tuple[int, int]:
        """Return how many words of all sentences do not fit, and how many that would fit have no token."""
        num_truncated = num_empty = 0
        for row in range(len(self)):
            fits, has_tokens = self._fit_and_tokens(row)
            num_truncated += int(np.count_nonzero(~fits))
            num_empty += int(np.count_nonzero(fits & ~has_tokens))
        return num_truncated, num_empty

    def _fit_and_tokens(self, row: int) -> tuple[Bools, Bools]:
        """Return for each word of the sentence in a row whether its first token fits, and if it has any."""
        items = self.table.item_rows(self.word_column, row)
        offsets = (
            self.token_offsets[items.start : items.stop + 1]
            - self.token_offsets[items.start]
        )
        return offsets[:-1] < self.max_tokens, np.diff(offsets) > 0

    def __getitem__(self, row: int) -> Example:
        items = self.table.item_rows(self.word_column, row)
        words = self.words_read(row)
        # The last word that is read may lose its end.
        word_tokens = [self.token_ids[item] for item in items]
        tokens = np.concatenate([np.zeros(0, np.int64), *word_tokens])[
            : self.max_tokens
        ]
        first_positions = (
            self.token_offsets[items.start + words] - self.token_offsets[items.start]
        )
        fields: list[NDArray[Any]] = [tokens, first_positions]
        if self.label_ids is not None:
            fields.append(self.label_ids[row][words])
        return Example(row, tuple(fields))


@dataclass(frozen=True)
class TaggingCollator:
    """Makes batches of the examples of a TaggingDataset.

    The labels `tag` are those of all words that are read, at the positions of their first tokens; without
    labels they are all UNKNOWN_LABEL. The labels `words` are how many of these words each row has.
    """

    reader: SequenceReader

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        sequences = [
            self.reader.pair_format.join(tokens)
            for tokens in example_fields(examples, 0)
        ]
        batch = self.reader.collate(sequences, examples)
        positions = []
        for example, sequence in zip(examples, sequences, strict=True):
            # Special tokens precede the first word.
            positions.append(sequence.starts[0] + example.fields[1])
        flat_positions = flatten_positions(positions, width=batch.source.ids.shape[1])
        targets = [example.fields[2] for example in examples if len(example.fields) > 2]
        if targets:
            label_ids = torch.from_numpy(np.concatenate(targets))
        else:
            # Without labels the positions of words are still needed to read their states.
            label_ids = torch.full((len(flat_positions),), UNKNOWN_LABEL)
        # The counts divide the states of all words among their sentences again.
        word_counts = torch.tensor(
            [len(words) for words in example_fields(examples, 1)]
        )
        labels = {
            "tag": Labels(label_ids, flat_positions),
            "words": Labels(word_counts, torch.arange(len(word_counts))),
        }
        num_targets = float((label_ids != UNKNOWN_LABEL).sum())
        return replace(batch, labels=labels, counts={"tag": num_targets})
