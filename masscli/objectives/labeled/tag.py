"""Tagging: a label for every word, from the state of its first token (Devlin et al. 2019, section 5.3).

Every word of the input gets a label: words beyond --max-length, and words without a token, get
--truncated-label. A validation word whose label is not among those of the training part (or of --labels) has
no loss, and counts as wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.data.batches.batch import Batch, Ids
from masscli.data.batches.dataset import Dataset
from masscli.data.formats.conll import CONLLU_FORM, CONLLU_UPOS, is_conllu
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.metrics import entities, label_measures
from masscli.models.transformer import Transformer
from masscli.objectives.labeled.labels import (
    UNKNOWN_LABEL,
    choose_labels,
    label_warnings,
    read_label_ids,
)
from masscli.objectives.labeled.options import TagOptions
from masscli.objectives.labeled.tagging_dataset import TaggingCollator, TaggingDataset
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.classification_head import ClassificationHead
from masscli.objectives.shared.evaluable_objective import (
    ExampleOutput,
    Prediction,
    PredictiveObjective,
)
from masscli.objectives.shared.sequence_reader import SequenceReader
from masscli.objectives.shared.table_columns import choose_language
from masscli.text.single_line import one_cell

_CHECKED_SENTENCES = 100
"""Number of sentences for which it is checked whether a column numbers the words."""
OUTSIDE = "O"
"""The label of words outside of entities."""


class Tag(PredictiveObjective):
    """Tagging: predict a label for every word of a sentence."""

    def __init__(self, config: TagOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config
        self.reader = SequenceReader.from_options(config, context)
        self.head = ClassificationHead(config, context.model.dim, len(config.labels))

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of the only loss term, `tag`, which is 1."""
        return {"tag": 1.0}

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of the metrics, which depend on the labels, the main one first.

        They are `entity-f1` and `accuracy` if labels mark entities, else `accuracy` and `f1` (the mean F1
        over labels).
        """
        if any(map(entities.marks_entity, self.options.labels)):
            return ("entity-f1", "accuracy")
        return ("accuracy", "f1")

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the table columns that hold the words and their labels."""
        return (self.options.word_column, self.options.tag_column)

    @classmethod
    def fill_from_data(
        cls, config: TagOptions, data: DataFolder, name: str
    ) -> TagOptions:
        """Return a copy of the options, in which what depends on the data is filled in.

        These are the columns, the language, the labels, and the label of words that are not read, all from
        the training part of the table `name`. Raises MasscliError if an option does not fit the table.
        """
        table = data.table(name, "train")
        word_column, tag_column = _choose_columns(config, table)
        counts: Counter[str] = Counter()
        for row in range(len(table)):
            counts.update(table.strings(tag_column, row))
        labels = choose_labels(config.labels, counts, table)
        # A word that is not read gets the label that is most likely right.
        truncated_label = config.truncated_label
        if not truncated_label and OUTSIDE in counts:
            truncated_label = OUTSIDE
        elif not truncated_label:
            # Sorted, so that of equally frequent labels the first in the alphabet is taken.
            truncated_label = max(sorted(counts), key=counts.__getitem__)
        if truncated_label not in labels:
            raise MasscliError(
                f"--truncated-label {truncated_label}: is not a label of {table.path}",
                f"its labels are {', '.join(labels)}",
            )
        return replace(
            config,
            word_column=word_column,
            tag_column=tag_column,
            labels=labels,
            truncated_label=truncated_label,
            language=choose_language(config.language, table, data),
        )

    def table_dataset(self, table: Table, labeled: bool) -> TaggingDataset:
        """Return the sentences of a table, with the labels of their words if `labeled`.

        Raises MasscliError if a column is missing, or if a label is not one of those that are learned.
        """
        [word_column] = self.text_fields(table)
        label_ids = self._label_ids(table) if labeled else None
        return TaggingDataset(table, word_column, self.reader, label_ids)

    def text_fields(self, table: Table) -> tuple[str, ...]:
        """Return the column of the words.

        An imported model does not say which it was trained on: it is the default of --word-column then.
        Raises MasscliError if the table does not have it.
        """
        return (_choose_word_column(self.options, table),)

    def data_warnings(self, dataset: Dataset) -> list[str]:
        """Return warnings about words that are not read, and about unknown or unused labels."""
        assert isinstance(dataset, TaggingDataset)
        warnings = []
        truncated, empty = dataset.num_unread_words()
        if truncated:
            max_length = self.options.max_length
            warnings.append(
                f"not read: {count_of(truncated, 'word')} beyond {max_length} tokens (--max-length)"
            )
        if empty:
            warnings.append(
                f"not read: {count_of(empty, 'word')} without a token in the vocabulary"
            )
        if dataset.label_ids is not None:
            label_ids = np.concatenate(dataset.label_ids)
            warnings += label_warnings(
                self.options.labels, dataset.table, self.options.tag_column, label_ids
            )
        return warnings

    def collator(self) -> TaggingCollator:
        """Return the collator, which makes batches of sentences."""
        return TaggingCollator(self.reader)

    def scores(self, model: Transformer, batch: Batch) -> Tensor:
        """Return the scores of all labels for each word of the batch that is read: (words, labels)."""
        states = self.reader.hidden_states(model, batch).flatten(0, 1)
        scores: Tensor = self.head(states[batch.labels["tag"].positions])
        return scores

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the cross-entropy of the words' labels, summed; words with an unknown label have none."""
        label_ids = batch.labels["tag"].ids
        scores = self.scores(model, batch)
        loss = F.cross_entropy(
            scores, label_ids, reduction="sum", ignore_index=UNKNOWN_LABEL
        )
        return {"tag": Term(loss, loss)}

    def forward_outputs(self, model: Transformer, batch: Batch) -> list[ExampleOutput]:
        """Return for each sentence the best label ids of its words and their probabilities: (2 * words,).

        An array holds id, probability, id, probability and so on. It leaves out words that are not read.
        """
        probabilities = torch.softmax(self.scores(model, batch).double(), -1)
        best = probabilities.max(-1)
        # An output is one array of float64, which holds label ids exactly.
        outputs = torch.stack([best.indices.double(), best.values], 1).cpu()
        word_counts = batch.labels["words"].ids.tolist()
        return [output.numpy().ravel() for output in torch.split(outputs, word_counts)]

    def decode_predictions(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> list[Prediction]:
        """Return the predicted labels of each sentence, words that are not read included.

        The text of a prediction has a line for each word: the word, a tab, its label and a line break.
        """
        predictions = []
        # The dataset says which words have been read.
        dataset = self.table_dataset(table, labeled=False)
        for row, output in enumerate(outputs):
            words = table.strings(dataset.word_column, row)
            tags, probabilities = self._decode_tags(dataset, row, output)
            lines = [
                f"{one_cell(word)}\t{one_cell(tag)}\n"
                for word, tag in zip(words, tags, strict=True)
            ]
            details = {"words": words, "tags": tags, "probabilities": probabilities}
            predictions.append(Prediction("".join(lines), details))
        return predictions

    def compute_metrics(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> dict[str, float]:
        """Return the accuracy of words (`accuracy`), and an F1, both times 100.

        The F1 is that of entities if labels mark them (`entity-f1`), else the mean over labels (`f1`).
        """
        dataset = self.table_dataset(table, labeled=False)
        gold = []
        predicted = []
        for row, output in enumerate(outputs):
            tags, _ = self._decode_tags(dataset, row, output)
            predicted.append(tags)
            gold.append(table.strings(self.options.tag_column, row))
        gold_words = list(chain.from_iterable(gold))
        predicted_words = list(chain.from_iterable(predicted))
        accuracy = 100 * label_measures.accuracy(gold_words, predicted_words)
        if "entity-f1" in self.metric_names:
            return {
                "entity-f1": 100 * entities.entity_f1(gold, predicted),
                "accuracy": accuracy,
            }
        return {
            "accuracy": accuracy,
            "f1": 100 * label_measures.macro_f1(gold_words, predicted_words),
        }

    def _decode_tags(
        self, dataset: TaggingDataset, row: int, output: ExampleOutput
    ) -> tuple[list[str], list[float | None]]:
        """Return the predicted labels and their probabilities for all words of the sentence in a row.

        `output` is the sentence's array of `forward_outputs`. Words that are not read get --truncated-label,
        with None as the probability.
        """
        count = len(dataset.table.item_rows(dataset.word_column, row))
        # Words that were not read keep this label.
        tags = [self.options.truncated_label] * count
        probabilities: list[float | None] = [None] * count
        pairs = output.reshape(-1, 2).tolist()
        for word, (label_id, probability) in zip(
            dataset.words_read(row).tolist(), pairs, strict=True
        ):
            tags[word] = self.options.labels[int(label_id)]
            probabilities[word] = probability
        return tags, probabilities

    def _label_ids(self, table: Table) -> list[Ids]:
        """Return the label ids of the words of each sentence, UNKNOWN_LABEL for unknown labels."""
        column = self.options.tag_column
        table.require(column, "--tag-column", many=True)
        label_ids = read_label_ids(self.options.labels, table, column)
        offsets = table.item_offsets[column]
        # The table may be cut to its first examples.
        return np.split(label_ids, offsets[1 : len(table)])


def _choose_columns(config: TagOptions, table: Table) -> tuple[str, str]:
    """Return the names of the columns of words and of labels.

    They are --word-column and --tag-column or, where these are not given, those of CoNLL-U, or else the first
    and the last column. Raises MasscliError if a column is missing or both are the same, or if the first one
    holds numbers of words and --word-column is not given.
    """
    word_column = _choose_word_column(config, table)
    # CoNLL-U has no labels in its last column.
    last = CONLLU_UPOS if _is_conllu(table) else table.fields[-1]
    tag_column = config.tag_column or last
    table.require(tag_column, "--tag-column", many=True)
    if tag_column == word_column:
        raise MasscliError(
            f"{table.path}: has no column of labels",
            "give words and their labels in columns; see --tag-column",
        )
    return word_column, tag_column


def _choose_word_column(config: TagOptions, table: Table) -> str:
    """Return the name of the column of words: --word-column, or else that of CoNLL-U or the first one.

    Raises MasscliError if it is missing, or if the first one holds numbers of words.
    """
    first = table.fields[0]
    word_column = config.word_column
    if not word_column and _is_conllu(table):
        word_column = CONLLU_FORM
    elif not word_column:
        word_column = first
        if _numbers_words(table, first):
            raise MasscliError(
                f"{table.path}: column {first} has no words, but their numbers",
                f"name the column of the words: --word-column {table.fields[1]}, or leave out the numbers",
            )
    table.require(word_column, "--word-column", many=True)
    return word_column


def _is_conllu(table: Table) -> bool:
    """Return whether a table has the columns of CoNLL-U."""
    first = table.fields[0]
    return table.is_list(first) and is_conllu(table.fields, table.strings(first, 0))


def _numbers_words(table: Table, column: str) -> bool:
    """Return whether a column numbers the words of every sentence, from 0 or 1, as GermEval and others do."""
    if not table.is_list(column) or len(table.fields) < 2:
        return False
    for row in range(min(len(table), _CHECKED_SENTENCES)):
        values = table.strings(column, row)
        if values[:1] not in (["0"], ["1"]):
            return False
        first = int(values[0])
        if values != [str(number) for number in range(first, first + len(values))]:
            return False
    return True
