"""Tagging: a label for every word, from the state of its first piece (Devlin et al. 2019, section 5.3); no CRF.

Every word of the input has an output: words beyond `--max-length`, and those that have no piece, get the label `truncated_label`.  A word of
validation whose label is not among those of the training part (or of --labels) has no loss, and counts as wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Ids, Labels
from masscli.data.batches.dataset import Dataset, Example
from masscli.data.batches.framing import Framing
from masscli.data.formats.conll import CONLLU_FORM, CONLLU_UPOS, is_conllu
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.metrics import entities
from masscli.metrics import label_measures as measures
from masscli.models.transformer import Transformer
from masscli.objectives.labelled.options import TagOptions
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.finetuning_base import (
    ClassificationHead,
    ExampleOutput,
    Prediction,
    PredictiveObjective,
    SequenceReader,
)
from masscli.objectives.shared.table_columns import (
    UNKNOWN,
    about_labels,
    label_list,
    label_numbers,
    language_of,
)


class TaggedSentenceDataset:
    """Sentences of words: their pieces, as many as fit, which of them begin a word, and the words' labels."""

    def __init__(
        self, table: Table, field: str, room: int, symbols: int, targets: Sequence[Ids] | None
    ) -> None:
        self.table, self.field, self.room, self.symbols, self.targets = table, field, room, symbols, targets
        self.ends = np.concatenate([[0], np.cumsum(table.ids(field).lengths(), dtype=np.int64)])

    def __len__(self) -> int:
        return len(self.table)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Pieces that fit, and symbols."""
        words = self.table.item_offsets[self.field]
        pieces = self.ends[words[start + 1 : stop + 1]] - self.ends[words[start:stop]]
        found: NDArray[np.int64] = (np.minimum(pieces, self.room) + self.symbols)[:, None]
        return found

    def read(self, row: int) -> Ids:
        """Which words of a sentence begin within the pieces that fit."""
        items = self.table.item_rows(self.field, row)
        ends = self.ends[items.start : items.stop + 1] - self.ends[items.start]
        found: Ids = np.flatnonzero((ends[:-1] < self.room) & (np.diff(ends) > 0))
        return found

    @property
    def num_truncated_words(self) -> int:
        """How many words are not read."""
        return sum(
            len(self.table.item_rows(self.field, row)) - len(self.read(row)) for row in range(len(self))
        )

    def __getitem__(self, row: int) -> Example:
        items, words, column = (
            self.table.item_rows(self.field, row),
            self.read(row),
            self.table.ids(self.field),
        )
        pieces = np.concatenate([np.zeros(0, np.int64), *(column[at] for at in items)])[: self.room]
        starts = self.ends[items.start + words] - self.ends[items.start]
        return Example(
            row, (pieces, starts, *([self.targets[row][words]] if self.targets is not None else []))
        )


@dataclass(frozen=True)
class TaggedSentenceCollator:
    """Sentences to sequences, and the places of their words' first pieces."""

    reader: SequenceReader
    framing: Framing
    language: str

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        sequences = [self.reader.pair_format.join(e.fields[0]) for e in examples]
        batch = self.reader.collate(sequences, self.framing, self.language, [e.number for e in examples])
        width = batch.source.ids.shape[1]
        at = np.concatenate(
            [
                n * width + s.starts[0] + e.fields[1]
                for n, (e, s) in enumerate(zip(examples, sequences, strict=True))
            ]
        )
        targets = [e.fields[2] for e in examples if len(e.fields) > 2]
        ids = torch.from_numpy(np.concatenate(targets)) if targets else torch.full((len(at),), UNKNOWN)
        counts = torch.tensor([len(e.fields[1]) for e in examples])
        labels = {
            "tag": Labels(ids, torch.from_numpy(at)),
            "words": Labels(counts, torch.arange(len(counts))),
        }
        return replace(batch, labels=labels, counts={"tag": float((ids != UNKNOWN).sum())})


class Tag(PredictiveObjective):
    """Label words."""

    def __init__(self, config: TagOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config
        self.reader = SequenceReader.from_options(config, context)
        self.head = ClassificationHead(config, context.model.dim, len(config.labels))

    @property
    def weights(self) -> Mapping[str, float]:
        """One term."""
        return {"tag": 1.0}

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Entities where the labels are BIO tags, words in any case."""
        entities = any(label[:2] in ("B-", "I-", "E-", "S-") for label in self.options.labels)
        return ("entity-f1", "accuracy") if entities else ("accuracy", "f1")

    @classmethod
    def fill_from_data(cls, config: TagOptions, data: DataFolder, name: str) -> TagOptions:
        """Columns, language, labels."""
        table = data.table(name, "train")
        first, last = table.fields[0], table.fields[-1]
        if table.is_list(first) and is_conllu(table.fields, table.strings(first, 0)):
            first, last = CONLLU_FORM, CONLLU_UPOS
        words, column = config.word_column or first, config.tag_column or last
        table.require(words, "--word-column", many=True)
        table.require(column, "--tag-column", many=True)
        if column == words:
            raise MasscliError(
                f"{table.path}: has no column of labels",
                "give words and their labels in columns; see --tag-column",
            )
        found = Counter(tag for row in range(len(table)) for tag in table.strings(column, row))
        labels = label_list(config.labels, found, table)
        truncated_label = config.truncated_label or (
            "O" if "O" in found else max(sorted(found), key=found.__getitem__)
        )
        if truncated_label not in labels:
            raise MasscliError(
                f"--truncated-label {truncated_label}: is not a label of {table.path}",
                f"its labels are {', '.join(labels)}",
            )
        language = language_of(config.language, table, data)
        return replace(
            config,
            word_column=words,
            tag_column=column,
            labels=labels,
            truncated_label=truncated_label,
            language=language,
        )

    def table_dataset(self, table: Table, labelled: bool) -> TaggedSentenceDataset:
        o, pair_format = self.options, self.reader.pair_format
        table.require(o.word_column, "--word-column", many=True)
        targets = self._targets(table) if labelled else None
        return TaggedSentenceDataset(
            table,
            o.word_column,
            o.max_length - pair_format.num_special_tokens(1),
            pair_format.num_special_tokens(1),
            targets,
        )

    def data_warnings(self, view: Dataset) -> list[str]:
        assert isinstance(view, TaggedSentenceDataset)
        truncated = view.num_truncated_words
        found = (
            [f"{truncated} words beyond {self.options.max_length} tokens (--max-length) are not read"]
            if truncated
            else []
        )
        if view.targets is None:
            return found
        return [
            *found,
            *about_labels(
                self.options.labels, view.table, self.options.tag_column, np.concatenate(view.targets)
            ),
        ]

    def collator(self) -> TaggedSentenceCollator:
        """Frames and pads."""
        return TaggedSentenceCollator(self.reader, self.context.framing, self.options.language)

    def scores(self, model: Transformer, batch: Batch) -> Tensor:
        """(words, labels)."""
        states = self.reader.hidden_states(model, batch).flatten(0, 1)[batch.labels["tag"].positions]
        found: Tensor = self.head(states)
        return found

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy of the words' labels."""
        loss = F.cross_entropy(
            self.scores(model, batch), batch.labels["tag"].ids, reduction="sum", ignore_index=UNKNOWN
        )
        return {"tag": Term(loss, loss)}

    def forward_outputs(self, model: Transformer, batch: Batch) -> list[ExampleOutput]:
        """The number of the best label of each word that is read, and its probability, one after the other."""
        shares = torch.softmax(self.scores(model, batch).double(), -1).max(-1)
        both = torch.stack([shares.indices.double(), shares.values], 1).cpu()
        return [part.numpy().ravel() for part in torch.split(both, batch.labels["words"].ids.tolist())]

    def decode_predictions(self, table: Table, outputs: Sequence[ExampleOutput]) -> list[Prediction]:
        """A line for each word, and a blank one at the end of the sentence."""
        found, view = [], self.table_dataset(table, labelled=False)
        for row, output in enumerate(outputs):
            words = table.strings(self.options.word_column, row)
            tags, sure = self._tags(view, row, output)
            lines = "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True))
            found.append(Prediction(lines, {"words": words, "tags": tags, "probabilities": sure}))
        return found

    def compute_metrics(self, table: Table, outputs: Sequence[ExampleOutput]) -> dict[str, float]:
        view = self.table_dataset(table, labelled=False)
        gold = [table.strings(self.options.tag_column, row) for row in range(len(table))]
        predicted = [self._tags(view, row, output)[0] for row, output in enumerate(outputs)]
        flat = [tag for tags in gold for tag in tags], [tag for tags in predicted for tag in tags]
        found = {"accuracy": measures.accuracy(*flat)}
        if "entity-f1" in self.metric_names:
            return {"entity-f1": entities.entity_f1(gold, predicted), **found}
        return {**found, "f1": measures.macro_f1(*flat)}

    def _tags(
        self, view: TaggedSentenceDataset, row: int, output: ExampleOutput
    ) -> tuple[list[str], list[float | None]]:
        """A label for every word, and how sure the model is of it (None of words that are not read)."""
        count = len(view.table.item_rows(view.field, row))
        tags, sure = [self.options.truncated_label] * count, [None] * count  # type: list[str], list[float | None]
        for word, (label, share) in zip(view.read(row).tolist(), output.reshape(-1, 2).tolist(), strict=True):
            tags[word], sure[word] = self.options.labels[int(label)], share
        return tags, sure

    def _targets(self, table: Table) -> list[Ids]:
        """The labels of each sentence."""
        column = self.options.tag_column
        table.require(column, "--tag-column", many=True)
        numbers, ends = label_numbers(self.options.labels, table, column), table.item_offsets[column]
        return [numbers[ends[row] : ends[row + 1]] for row in range(len(table))]
