"""The dataset of contexts with several choices each, and its collator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Ids, Labels
from masscli.data.batches.dataset import Example
from masscli.data.formats.multiple_choice import QUESTION
from masscli.data.storage.tables import WITH_QUESTION, Table
from masscli.objectives.labeled.auxiliary_lm import LM_TERM, next_token_labels
from masscli.objectives.labeled.options import ChooseOptions
from masscli.objectives.shared.sequence_reader import SequenceReader


class ChoiceDataset:
    """Examples of multiple choice, truncated to fit.

    The fields of an example are, for each choice, the token ids of its context and of the choice; then,
    if `targets` (N,) is given, the number of the right choice. A question is joined with each choice or
    follows the context (--question-at). Of a choice the last --max-choice tokens are kept; when the
    sequence is still too long, the question keeps its last tokens that fit together with the choice,
    and the context gets what is left. Raises MasscliError if --question-at is given for a table without
    questions.
    """

    def __init__(
        self,
        table: Table,
        options: ChooseOptions,
        reader: SequenceReader,
        targets: Ids | None,
    ) -> None:
        self.table = table
        self.keep = options.keep
        self.targets = targets
        place = _place_of_question(table, options, reader)
        # Preprocessing has stored the choices twice if there is a question: as they are, and joined with it.
        self.choices_column = options.choices_column
        if place == "choice":
            self.choices_column += WITH_QUESTION
        self.questions = table.ids(QUESTION) if place == "context" else None
        self.contexts = table.ids(options.context_column)
        self.choices = table.ids(self.choices_column)
        self.num_special_tokens = reader.pair_format.num_special_tokens(2)
        self.max_text_tokens = reader.max_length - self.num_special_tokens
        self.max_choice = min(options.max_choice, self.max_text_tokens)

    def __len__(self) -> int:
        return len(self.table)

    def context_lengths(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the lengths of context and question together before any truncation: (stop - start,)."""
        lengths = self.contexts.lengths(start, stop).astype(np.int64)
        if self.questions is not None:
            lengths += self.questions.lengths(start, stop)
        return lengths

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the number of tokens of each example with padding: (stop - start, 1).

        It is the number of choices times the length of the longest sequence.
        """
        offsets = self.table.item_offsets[self.choices_column]
        choice_lengths = self.choices.lengths(int(offsets[start]), int(offsets[stop]))
        choice_lengths = np.minimum(choice_lengths, self.max_choice)
        context_lengths = self.context_lengths(start, stop)
        sizes = np.zeros(stop - start, np.int64)
        # A batch holds all choices of an example, padded to the longest.
        for number in range(stop - start):
            # Choices are counted from the first one of the range.
            first = offsets[start + number] - offsets[start]
            last = offsets[start + number + 1] - offsets[start]
            longest_choice = int(choice_lengths[first:last].max())
            text_tokens = min(
                longest_choice + int(context_lengths[number]), self.max_text_tokens
            )
            sizes[number] = (last - first) * (text_tokens + self.num_special_tokens)
        return sizes[:, None]

    @property
    def num_truncated(self) -> int:
        """The number of examples of which any context, question or choice is truncated."""
        # The table may be limited to its first examples, while its columns are complete.
        offsets = self.table.item_offsets[self.choices_column][: len(self) + 1].tolist()
        choice_lengths = self.choices.lengths()
        context_lengths = self.context_lengths(0, len(self)).tolist()
        count = 0
        for (first, last), context_length in zip(
            pairwise(offsets), context_lengths, strict=True
        ):
            longest_choice = int(choice_lengths[first:last].max())
            too_long = longest_choice + context_length > self.max_text_tokens
            if longest_choice > self.max_choice or too_long:
                count += 1
        return count

    def __getitem__(self, row: int) -> Example:
        fields: list[NDArray[Any]] = []
        context = self.contexts[row]
        question = np.zeros(0, np.int64)
        if self.questions is not None:
            question = self.questions[row]
        for choice_row in self.table.item_rows(self.choices_column, row):
            # The choice has priority, then the question: without them the example would make no sense.
            choice = _last_tokens(self.choices[choice_row], self.max_choice)
            kept_question = _last_tokens(question, self.max_text_tokens - len(choice))
            max_context = self.max_text_tokens - len(choice) - len(kept_question)
            if self.keep == "start":
                kept_context = context[:max_context]
            else:
                kept_context = _last_tokens(context, max_context)
            fields += [np.concatenate([kept_context, kept_question]), choice]
        if self.targets is not None:
            fields.append(self.targets[row : row + 1])
        return Example(row, tuple(fields))


@dataclass(frozen=True)
class ChoiceCollator:
    """Makes batches of the examples of a ChoiceDataset, with a row for every choice.

    The labels `choices` are the number of choices of each example, the labels `choose` the numbers of the
    right ones, if the examples have them. `choice_first` says whether a choice stands before its context.
    With `auxiliary_lm` there are also labels `lm` for the auxiliary language model.
    """

    reader: SequenceReader
    choice_first: bool
    auxiliary_lm: bool

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        sequences = []
        choice_counts = []
        targets = []
        for example in examples:
            contexts = example.fields[0::2]
            choices = example.fields[1::2]
            # Each choice has two fields, so that an odd one at the end is the target.
            if len(example.fields) % 2:
                targets.append(contexts[-1])
                contexts = contexts[:-1]
            choice_counts.append(len(choices))
            for context, choice in zip(contexts, choices, strict=True):
                texts = (choice, context) if self.choice_first else (context, choice)
                sequences.append(self.reader.pair_format.join(*texts))
        batch = self.reader.collate(sequences, examples)
        labels = {
            "choices": Labels(
                torch.tensor(choice_counts), torch.arange(len(choice_counts))
            )
        }
        if targets:
            right_choices = torch.from_numpy(np.concatenate(targets))
            labels["choose"] = Labels(right_choices, torch.arange(len(targets)))
        counts = {"choose": float(len(targets))}
        if self.auxiliary_lm:
            labels[LM_TERM] = next_token_labels(batch.source)
            # The language model's loss is a mean over each sequence, so sequences are its targets.
            counts[LM_TERM] = float(len(sequences))
        return replace(batch, labels=labels, counts=counts)


def _place_of_question(
    table: Table, options: ChooseOptions, reader: SequenceReader
) -> Literal["choice", "context", ""]:
    """Return where the question is added: to each choice, or after the context; "" if it is added nowhere.

    The latter is so without a question, and if --context-column makes it the context. Raises MasscliError if
    --question-at is given nevertheless, and for questions that are lists of texts.
    """
    why_not = ""
    if options.context_column.lower() == QUESTION:
        why_not = f"{QUESTION!r} is the --context-column"
    elif not table.has(QUESTION):
        why_not = f"the examples in {table.path} have no {QUESTION!r}"
    if why_not:
        if options.question_at != "auto":
            raise MasscliError(
                f"--question-at {options.question_at}: {why_not}", "leave it out"
            )
        return ""
    if table.is_list(QUESTION):
        raise MasscliError(
            f"{table.path}: {QUESTION!r} is a list in each example, and would not be read",
            "write each question as one text",
        )
    if options.question_at == "auto":
        return "context" if reader.pair_format.kind == "gpt" else "choice"
    return options.question_at


def _last_tokens(ids: Ids, count: int) -> Ids:
    return ids[max(0, len(ids) - count) :]
