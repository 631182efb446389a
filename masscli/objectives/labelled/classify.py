"""Classification of a text or a pair of texts: log softmax of a head on the state that stands for the sequence.

    BERT (Devlin et al. 2019): [CLS] A [SEP] B [SEP], the first state -> dropout -> linear.  RoBERTa and ELECTRA: the same with a layer
    between (`--head tanh`, `--head gelu`).  GPT (Radford et al. 2018, section 3): start A delimiter B extract, the last state -> linear;
    `--lm-weight 0.5` adds lambda L1, the language model of the same sequences (equation 5), each a mean over its tokens; `--both-orders`
    adds up the states of both orders of a pair.  ELECTRA, where a pair has no order: `--double-unordered` learns both as two examples.

The list of labels is that of the training part, or of --labels, and is kept in the recipe.  An example of validation whose label is not
among them has no loss, and counts as wrong; one that says that there is no gold label (`--no-gold`) is left out of everything.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Ids
from masscli.data.batches.dataset import Collator, Dataset
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.metrics import label_measures as measures
from masscli.metrics.unlabelled import unlabelled_mark
from masscli.models.transformer import Transformer
from masscli.objectives.labelled.options import ClassifyOptions
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.finetuning_base import (
    BothOrdersDataset,
    ClassificationHead,
    ExampleOutput,
    Prediction,
    PredictiveObjective,
    SequenceReader,
    TextCollator,
    TextDataset,
    check_language_model,
    language_model,
)
from masscli.objectives.shared.table_columns import (
    NO_GOLD,
    UNKNOWN,
    about_labels,
    label_list,
    label_numbers,
    labels_of,
    language_of,
    text_columns,
    texts_of,
)
from masscli.objectives.shared.table_options import TextTaskOptions


class Texts(PredictiveObjective):
    """A head on texts; what it means is up to those who derive from it.  `term` is the loss's name."""

    term: ClassVar[str]
    unknown: ClassVar[tuple[int, ...]] = ()
    """The targets of examples that have no loss."""

    def __init__(self, config: TextTaskOptions, context: ObjectiveContext, outputs: int) -> None:
        super().__init__(context)
        self.texts = config
        self.reader = SequenceReader.from_options(config, context)
        for flag, wanted in (
            ("--both-orders", config.both_orders),
            ("--double-unordered", config.double_unordered),
        ):
            if wanted and len(config.text_columns) != 2:
                raise MasscliError(f"{flag}: the task has one text", "leave it out")
        check_language_model(config, self.reader)
        self.head = ClassificationHead(config, context.model.dim, outputs)

    @property
    def weights(self) -> Mapping[str, float]:
        """The task, and the language model where there is one."""
        return {self.term: 1.0, "lm": self.texts.lm_weight} if self.texts.lm_weight else {self.term: 1.0}

    def collator(self) -> TextCollator:
        """Frames and pads."""
        o = self.texts
        return TextCollator(
            self.term,
            len(o.text_columns),
            self.reader,
            self.context.framing,
            o.language,
            o.both_orders,
            o.lm_weight > 0,
        )

    @abstractmethod
    def targets(self, table: Table) -> NDArray[Any]:
        """What is to be learned of each example."""

    def table_dataset(self, table: Table, labelled: bool) -> TextDataset:
        return self._read(table, 1, self.targets(table) if labelled else None)

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        table = data.table(self.context.dataset_name, split).head(max_examples)
        examples = self.table_dataset(table, labelled=True)
        if self.texts.double_unordered:
            return BothOrdersDataset(examples, self._read(table, -1, examples.targets)), self.collator()
        return examples, self.collator()

    def _read(self, table: Table, step: int, targets: NDArray[Any] | None) -> TextDataset:
        return TextDataset(
            table, texts_of(self.texts.text_columns, table)[::step], self.reader, targets, self.unknown
        )

    def data_warnings(self, view: Dataset) -> list[str]:
        assert isinstance(view, TextDataset | BothOrdersDataset)
        cut = view.cut
        return (
            [f"{cut} of {len(view)} examples are cut to {self.texts.max_length} tokens (--max-length)"]
            if cut
            else []
        )

    def scores(self, model: Transformer, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, outputs), and the states that they are made of."""
        states = self.reader.hidden_states(model, batch)
        summary = self.reader.sequence_state(model, batch, states)
        if self.texts.both_orders:
            one, other = summary.chunk(2)
            summary = one + other
        scores: Tensor = self.head(summary)
        return scores, states

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """The task's loss, and that of the language model."""
        scores, states = self.scores(model, batch)
        wanted = batch.labels[self.term]
        found = {self.term: self.loss(scores[wanted.positions], wanted.ids)}
        if self.texts.lm_weight:
            found["lm"] = language_model(model, batch, states)
        return found

    def loss(self, scores: Tensor, targets: Tensor) -> Term:
        """Summed over examples."""
        raise NotImplementedError

    def forward_outputs(self, model: Transformer, batch: Batch) -> list[ExampleOutput]:
        return list(self.scores(model, batch)[0].double().cpu().numpy())


class Classify(Texts):
    """Choose a label."""

    term = "classify"
    unknown = (UNKNOWN, NO_GOLD)
    metric_names: ClassVar[tuple[str, ...]] = ("accuracy", "f1", "mcc")

    def __init__(self, config: ClassifyOptions, context: ObjectiveContext) -> None:
        super().__init__(config, context, len(config.labels))
        self.options = config

    @classmethod
    def fill_from_data(cls, config: ClassifyOptions, data: DataFolder, name: str) -> ClassifyOptions:
        """Columns, language, labels."""
        table = data.table(name, "train")
        table.require(config.label_column, "--label-column")
        found = labels_of(table, config.label_column)
        no_gold = unlabelled_mark(config.labels or found) if config.no_gold is None else config.no_gold
        labels = label_list(config.labels, found, table, no_gold)
        if no_gold in labels:
            raise MasscliError(f"--no-gold {no_gold}: is among --labels, too", "leave it out of one of them")
        if config.positive and config.positive not in labels:
            raise MasscliError(
                f"--positive {config.positive}: is not a label of {table.path}",
                f"its labels are {', '.join(labels)}",
            )
        columns = text_columns(config.text_columns, table, config.label_column)
        return replace(
            config,
            labels=labels,
            no_gold=no_gold,
            text_columns=columns,
            language=language_of(config.language, table, data),
        )

    def targets(self, table: Table) -> Ids:
        table.require(self.options.label_column, "--label-column")
        return label_numbers(
            self.options.labels, table, self.options.label_column, self.options.no_gold or ""
        )

    def data_warnings(self, view: Dataset) -> list[str]:
        first = view.one if isinstance(view, BothOrdersDataset) else view
        assert isinstance(first, TextDataset)
        about = (
            []
            if first.targets is None
            else about_labels(self.options.labels, first.table, self.options.label_column, first.targets)
        )
        return [*super().data_warnings(view), *about]

    def loss(self, scores: Tensor, targets: Tensor) -> Term:
        loss = F.cross_entropy(scores, targets, reduction="sum")
        return Term(loss, loss)

    def decode_predictions(self, table: Table, outputs: Sequence[ExampleOutput]) -> list[Prediction]:
        found = []
        for scores in outputs:
            shares = np.exp(scores - scores.max())
            shares /= shares.sum()
            label = self.options.labels[int(scores.argmax())]
            probabilities = dict(zip(self.options.labels, map(float, shares), strict=True))
            found.append(
                Prediction(
                    label,
                    {"label": label, "probability": float(shares.max()), "probabilities": probabilities},
                )
            )
        return found

    def compute_metrics(self, table: Table, outputs: Sequence[ExampleOutput]) -> dict[str, float]:
        o = self.options
        labelled = [
            (table.text(o.label_column, row), o.labels[int(scores.argmax())])
            for row, scores in enumerate(outputs)
        ]
        gold, predicted = zip(
            *((label, found) for label, found in labelled if not o.no_gold or label != o.no_gold), strict=True
        )
        positive = measures.choose_positive_label(o.labels, o.positive)
        f1 = (
            measures.macro_f1(gold, predicted) if positive is None else measures.f1(gold, predicted, positive)
        )
        return {
            "accuracy": measures.accuracy(gold, predicted),
            "f1": f1,
            "mcc": measures.matthews(gold, predicted),
        }
