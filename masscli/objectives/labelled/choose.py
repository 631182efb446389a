"""Multiple choice: softmax over the scores of a context with each of its choices.

    BERT on SWAG (Devlin et al. 2019, section 4.4): [CLS] context [SEP] choice [SEP], one vector on the first state.  RACE (Lan et al.
    2019): [CLS] passage [SEP] question + choice [SEP], where a blank `_` in the question is filled by the choice; the last 128 tokens of
    question and choice are kept and the passage is cut.  GPT (Radford et al. 2018): start context question delimiter choice extract;
    `--lm-weight 0.5` adds the language model of the sequences of all choices (equation 5), each a mean over its tokens.

As they are distributed: SWAG's `sent1` is the context, and `sent2` begins each ending; RACE has several questions about an article.

A field `question` beside the choices was joined with each of them when the data was read, or follows right after the context, as it is
(`--question-at`); there it is kept before the context is.  The number of choices may differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Ids, Labels
from masscli.data.batches.dataset import Dataset, Example
from masscli.data.batches.framing import Framing
from masscli.data.formats.multiple_choice import QUESTION, choice_index
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import WITH_QUESTION, Table
from masscli.models.transformer import Transformer
from masscli.objectives.labelled.options import ChooseOptions
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.finetuning_base import (
    ClassificationHead,
    ExampleOutput,
    Prediction,
    PredictiveObjective,
    SequenceReader,
    check_language_model,
    language_model,
    next_tokens,
)
from masscli.objectives.shared.table_columns import language_of


class MultipleChoiceDataset:
    """Of each example its context, cut to fit with each choice; the choices; and which is right."""

    def __init__(
        self, table: Table, options: ChooseOptions, reader: SequenceReader, targets: Ids | None
    ) -> None:
        self.table, self.options, self.reader, self.targets = table, options, reader, targets
        self.items, self.questions = options.choices_column, None
        if table.has(asked := options.choices_column + WITH_QUESTION):
            at = (
                options.question_at
                if options.question_at != "auto"
                else "context"
                if reader.pair_format.kind == "gpt"
                else "choice"
            )
            self.items, self.questions = (
                (asked, None) if at == "choice" else (options.choices_column, table.ids(QUESTION))
            )
        elif options.question_at != "auto":
            raise MasscliError(
                f"--question-at {options.question_at}: the examples in {table.path} have no {QUESTION!r}",
                "leave it out",
            )
        self.contexts, self.choices = table.ids(options.context_column), table.ids(self.items)
        self.room = options.max_length - reader.pair_format.num_special_tokens(2)
        self.most = min(options.max_choice, self.room)

    def __len__(self) -> int:
        return len(self.table)

    def before(self, start: int, stop: int) -> NDArray[np.int64]:
        """Lengths of what stands before the choices, before any cut."""
        found = self.contexts.lengths(start, stop).astype(np.int64)
        return found if self.questions is None else found + self.questions.lengths(start, stop)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Of all the sequences of an example, padded to the longest."""
        ends = self.table.item_offsets[self.items]
        lengths = np.minimum(self.choices.lengths(int(ends[start]), int(ends[stop])), self.most)
        before = self.before(start, stop)
        found = np.zeros(stop - start, np.int64)
        for n in range(stop - start):
            own = lengths[ends[start + n] - ends[start] : ends[start + n + 1] - ends[start]]
            found[n] = len(own) * (
                min(int(own.max()) + int(before[n]), self.room)
                + self.reader.pair_format.num_special_tokens(2)
            )
        return found[:, None]

    @property
    def cut(self) -> int:
        """How many examples are cut."""
        ends = self.table.item_offsets[self.items]
        lengths, before = self.choices.lengths(), self.before(0, len(self))
        longest = [int(lengths[a:b].max()) for a, b in pairwise(ends[: len(self) + 1].tolist())]
        return sum(n > self.most or n + c > self.room for n, c in zip(longest, before.tolist(), strict=True))

    def __getitem__(self, row: int) -> Example:
        context, fields = self.contexts[row], []
        question = context[:0] if self.questions is None else self.questions[row]
        for at in self.table.item_rows(self.items, row):
            choice = _last(self.choices[at], self.most)
            asked = _last(question, self.room - len(choice))
            room = self.room - len(choice) - len(asked)
            fields += [
                np.concatenate(
                    [context[:room] if self.options.keep == "start" else _last(context, room), asked]
                ),
                choice,
            ]
        return Example(row, (*fields, *([self.targets[row : row + 1]] if self.targets is not None else [])))


def _last(ids: Ids, count: int) -> Ids:
    return ids[max(0, len(ids) - count) :]


@dataclass(frozen=True)
class MultipleChoiceCollator:
    """A sequence for every choice, those of an example one after another."""

    reader: SequenceReader
    framing: Framing
    language: str
    choice_first: bool
    language_model: bool

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        counts = [len(e.fields) // 2 for e in examples]
        texts = [e.fields[2 * n : 2 * n + 2] for e, c in zip(examples, counts, strict=True) for n in range(c)]
        sequences = [
            self.reader.pair_format.join(*(two[::-1] if self.choice_first else two)) for two in texts
        ]
        batch = self.reader.collate(sequences, self.framing, self.language, [e.number for e in examples])
        targets = [e.fields[-1] for e in examples if len(e.fields) % 2]
        labels = {"choices": Labels(torch.tensor(counts), torch.arange(len(counts)))}
        if targets:
            labels["choose"] = Labels(torch.from_numpy(np.concatenate(targets)), torch.arange(len(targets)))
        totals = {"choose": float(len(targets))}
        if self.language_model:
            labels["lm"], totals["lm"] = next_tokens(batch.source), float(len(sequences))
        return replace(batch, labels=labels, counts=totals)


class Choose(PredictiveObjective):
    """Find the right choice."""

    metric_names: ClassVar[tuple[str, ...]] = ("accuracy",)

    def __init__(self, config: ChooseOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config
        self.reader = SequenceReader.from_options(config, context)
        check_language_model(config, self.reader)
        self.head = ClassificationHead(config, context.model.dim, 1)

    @property
    def weights(self) -> Mapping[str, float]:
        """The choice, and the language model where there is one."""
        return {"choose": 1.0, "lm": self.options.lm_weight} if self.options.lm_weight else {"choose": 1.0}

    @classmethod
    def fill_from_data(cls, config: ChooseOptions, data: DataFolder, name: str) -> ChooseOptions:
        """The language."""
        table = data.table(name, "train")
        _targets(table, config)
        return replace(config, language=language_of(config.language, table, data))

    def table_dataset(self, table: Table, labelled: bool) -> Dataset:
        _check(table, self.options)
        return MultipleChoiceDataset(
            table, self.options, self.reader, _targets(table, self.options) if labelled else None
        )

    def data_warnings(self, view: Dataset) -> list[str]:
        assert isinstance(view, MultipleChoiceDataset)
        cut = view.cut
        return (
            [f"{cut} of {len(view)} examples are cut to {self.options.max_length} tokens (--max-length)"]
            if cut
            else []
        )

    def collator(self) -> MultipleChoiceCollator:
        """Frames and pads."""
        o = self.options
        return MultipleChoiceCollator(
            self.reader, self.context.framing, o.language, o.choice_first, o.lm_weight > 0
        )

    def scores(self, model: Transformer, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """For each example, a score of each choice; and the states that they are made of."""
        states = self.reader.hidden_states(model, batch)
        scores = self.head(self.reader.sequence_state(model, batch, states))[:, 0]
        return list(torch.split(scores, batch.labels["choices"].ids.tolist())), states

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy over the choices of each example, where those that are not there have no share; and that of the language model."""
        each, states = self.scores(model, batch)
        scores = torch.nn.utils.rnn.pad_sequence(each, batch_first=True, padding_value=-1e30)
        loss = F.cross_entropy(scores, batch.labels["choose"].ids, reduction="sum")
        found = {"choose": Term(loss, loss)}
        if self.options.lm_weight:
            found["lm"] = language_model(model, batch, states)
        return found

    def forward_outputs(self, model: Transformer, batch: Batch) -> list[ExampleOutput]:
        return [scores.double().cpu().numpy() for scores in self.scores(model, batch)[0]]

    def decode_predictions(self, table: Table, outputs: Sequence[ExampleOutput]) -> list[Prediction]:
        found = []
        for row, scores in enumerate(outputs):
            shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
            best = int(scores.argmax())
            choice = table.strings(self.options.choices_column, row)[best]
            found.append(
                Prediction(
                    str(best),
                    {"label": best, "choice": choice, "probabilities": [float(share) for share in shares]},
                )
            )
        return found

    def compute_metrics(self, table: Table, outputs: Sequence[ExampleOutput]) -> dict[str, float]:
        targets = _targets(table, self.options)
        return {
            "accuracy": float(
                np.mean([int(scores.argmax()) == t for scores, t in zip(outputs, targets, strict=True)])
            )
        }


def _check(table: Table, options: ChooseOptions) -> None:
    """The fields are there, and every example has two choices or more."""
    table.require(options.context_column, "--context-column")
    table.require(options.choices_column, "--choices-column", many=True)
    for row in range(len(table)):
        if len(table.item_rows(options.choices_column, row)) < 2:
            raise MasscliError(
                f"{table.location(row)}: has fewer than two choices", "add some, or leave the example out"
            )


def _targets(table: Table, options: ChooseOptions) -> Ids:
    """The number of the right choice of each example."""
    _check(table, options)
    table.require(options.label_column, "--label-column")
    found = np.zeros(len(table), np.int64)
    for row in range(len(table)):
        label, count = (
            table.text(options.label_column, row),
            len(table.item_rows(options.choices_column, row)),
        )
        if (number := choice_index(label, count)) is None:
            raise MasscliError(f"{table.location(row)}: {label!r} is none of its {count} choices",
                               f"{options.label_column!r} must be a number from 0, or a letter from A")  # fmt: skip
        found[row] = number
    return found
