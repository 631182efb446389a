"""Questions with the windows of their texts, and the collator that makes batches of them.

A text that is longer than a model can read is split into overlapping windows
(masscli/data/batches/windows.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Labels
from masscli.data.batches.dataset import Example
from masscli.data.batches.windows import split_into_windows
from masscli.data.storage.tables import Table
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.shared.sequence_reader import SequenceReader

QUESTION = "question"
"""The name of the table column that holds the question."""
CONTEXT = "context"
"""The name of the table column that holds the text in which the answer is found."""
ANSWERS = "answers"
"""The name of the table column that holds the list of right answers."""

_DAMAGED_HINT = "copy the data folder again, or run masscli preprocess with --overwrite"

TokenSpan = tuple[int, int]
"""The indices of the first and the last token of an answer, both included."""


class QuestionWindow(NamedTuple):
    """A window of the text that one question is about: the text's tokens `start` to `start + size - 1`."""

    question: int
    """The row of the question in its table."""
    number: int
    """The number of the window among those of its question, from 0."""
    start: int
    size: int


class QuestionWindowDataset:
    """The windows of all questions of a table, in the order of the questions.

    The fields of an example are the token ids of the question and of the window's text and, if `labeled`,
    three numbers: the first and last token of the answer, counted from the start of the window's text (-1 if
    the window does not hold all of it), and whether the question has an answer. Raises MasscliError if a
    question leaves no room for text within --max-length.
    """

    def __init__(
        self,
        table: Table,
        options: ExtractOptions,
        reader: SequenceReader,
        labeled: bool,
    ) -> None:
        self.table = table
        self.labeled = labeled
        self.max_query = options.max_query
        self.questions = table.ids(QUESTION)
        self.texts = table.ids(CONTEXT)
        self.windows: list[QuestionWindow] = []
        sizes = []
        num_special_tokens = reader.pair_format.num_special_tokens(2)
        # A question that is too long loses its end, so that there is room for the text.
        question_lengths = np.minimum(
            self.questions.lengths(0, len(table)), options.max_query
        ).tolist()
        text_lengths = self.texts.lengths()
        for row, question_length in enumerate(question_lengths):
            # The window gets what the question leaves of the sequence.
            max_size = options.max_length - num_special_tokens - question_length
            if max_size < 1:
                raise MasscliError(
                    f"{table.location(row)}: a question of {question_length} tokens leaves no room"
                    f" in a window of {options.max_length}",
                    "raise --max-length, or lower --max-query",
                )
            # Many questions share a text, which is stored once.
            text_length = int(text_lengths[table.shared_row(CONTEXT, row)])
            parts = split_into_windows(text_length, max_size, options.doc_stride)
            for number, (start, size) in enumerate(parts):
                self.windows.append(QuestionWindow(row, number, start, size))
                sizes.append(question_length + size + num_special_tokens)
        self._sizes = np.array(sizes, np.int64)[:, None]

    def __len__(self) -> int:
        return len(self.windows)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the number of tokens of each sequence, special tokens included: (stop - start, 1)."""
        return self._sizes[start:stop]

    @property
    def num_truncated_questions(self) -> int:
        """The number of questions that are truncated to --max-query tokens."""
        return int(
            np.count_nonzero(
                self.questions.lengths(0, len(self.table)) > self.max_query
            )
        )

    @property
    def num_lost_answers(self) -> int:
        """The number of questions with an answer that no window holds as a whole."""
        answered = {
            window.question
            for window in self.windows
            if self._answer_inside(window) is not None
        }
        num_answered = 0
        for row in range(len(self.table)):
            if len(self.table.item_rows(ANSWERS, row)):
                num_answered += 1
        return num_answered - len(answered)

    @cached_property
    def answers(self) -> list[TokenSpan | None]:
        """The tokens of the (first) answer of each question, or None for a question without an answer."""
        return [answer_token_span(self.table, row) for row in range(len(self.table))]

    def __getitem__(self, row: int) -> Example:
        window = self.windows[row]
        question = self.questions[window.question][: self.max_query]
        text = self.texts[self.table.shared_row(CONTEXT, window.question)]
        fields: list[NDArray[Any]] = [
            question,
            text[window.start : window.start + window.size],
        ]
        if self.labeled:
            # The collator turns -1 into the null position, which it alone knows.
            first, last = self._answer_inside(window) or (-1, -1)
            has_answer = self.answers[window.question] is not None
            fields.append(np.array([first, last, has_answer], np.int64))
        return Example(row, tuple(fields))

    def _answer_inside(self, window: QuestionWindow) -> TokenSpan | None:
        """Return the first and last token of the answer, counted from the start of the window's text.

        None if the question has no answer, or if the window does not hold all of it.
        """
        answer = self.answers[window.question]
        if answer is None:
            return None
        first = answer[0] - window.start
        last = answer[1] - window.start
        # A partial answer is not a training target.
        if first < 0 or last >= window.size:
            return None
        return first, last


def answer_token_span(table: Table, row: int) -> TokenSpan | None:
    """Return the tokens that hold the characters of a question's first answer, or None if it has no answer.

    These are the tokens from the first one that ends after the answer's start to the last one that begins
    before its end. If there are none, as for an answer of white space, the result is None too. Raises
    MasscliError if the table is damaged.
    """
    answers = table.item_rows(ANSWERS, row)
    if not len(answers):
        return None
    starts = table.numbers("start", row)
    text = table.columns[CONTEXT].text(table.shared_row(CONTEXT, row))
    # Only a damaged folder has such numbers, since preprocess compares answers with texts.
    if len(starts) != len(answers) or not 0 <= starts[0] < len(text):
        raise MasscliError(
            f"{table.location(row)}: its answer starts outside its text",
            _DAMAGED_HINT,
        )
    answer_start = int(starts[0])
    answer_end = answer_start + len(table.columns[ANSWERS].text(answers.start))
    # Tokens that hold only a part of the answer count, so that it is never truncated.
    token_starts, token_ends = character_offsets(table, row)
    first = int(np.searchsorted(token_ends, answer_start, "right"))
    last = int(np.searchsorted(token_starts, answer_end, "left")) - 1
    if first > last:
        return None
    return first, last


def character_offsets(
    table: Table, row: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each token of the text that a question is about begins and ends, as two arrays.

    The question is that in `row` of the table; the arrays are character offsets into the text that holds its
    answer. Ends are exclusive. Raises MasscliError if the offsets do not fit the text, since the table is
    damaged.
    """
    shared_row = table.shared_row(CONTEXT, row)
    begins = table.columns[f"{CONTEXT}.begin"][shared_row]
    ends = table.columns[f"{CONTEXT}.end"][shared_row]
    length = len(table.columns[CONTEXT].text(shared_row))
    offsets = np.concatenate([begins, ends])
    # Tokens follow one another, and none is empty but the mark of a word.
    is_sound = (
        len(begins)
        == len(ends)
        == int(table.ids(CONTEXT).lengths(shared_row, shared_row + 1)[0])
    )
    is_sound = is_sound and bool(
        ((offsets >= 0) & (offsets <= length)).all() and (begins <= ends).all()
    )
    if not is_sound:
        raise MasscliError(
            f"{table.location(row)}: the positions of its tokens are outside its text",
            _DAMAGED_HINT,
        )
    return begins, ends


@dataclass(frozen=True)
class QuestionWindowCollator:
    """Makes batches of the examples of a QuestionWindowDataset.

    The labels `window` (B, 3) are the position of the text's first token, the number of its tokens, and the
    null position, which stands for no answer: [CLS], or the last token for a decoder, where only that one
    sees everything. The labels `extract` (B, 3) are the positions of the answer's first and last token, which
    are the null position if the answer is not in the window, and whether the question has an answer.
    """

    reader: SequenceReader

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        sequences = [
            self.reader.pair_format.join(*example.fields[:2]) for example in examples
        ]
        batch = self.reader.collate(sequences, examples)
        windows = []
        targets = []
        for example, sequence in zip(examples, sequences, strict=True):
            text_start = sequence.starts[1]
            null_position = (
                0 if self.reader.stack == "encoder" else len(sequence.ids) - 1
            )
            windows.append([text_start, len(example.fields[1]), null_position])
            if len(example.fields) > 2:
                first, last, has_answer = example.fields[2].tolist()
                if first < 0:
                    targets.append([null_position, null_position, has_answer])
                else:
                    targets.append([text_start + first, text_start + last, has_answer])
        rows = torch.arange(len(examples))
        labels = {"window": Labels(torch.tensor(windows), rows)}
        if targets:
            labels["extract"] = Labels(torch.tensor(targets), rows)
        return replace(batch, labels=labels, counts={"extract": float(len(targets))})
