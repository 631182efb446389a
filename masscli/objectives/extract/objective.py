"""Extractive question answering: where an answer starts and ends in a text (Devlin et al. 2019, sections 4.2 and 4.3).

    [CLS] question [SEP] window [SEP];  softmax of two scores over the tokens of the sequence;  loss = (CE start + CE end) / 2
    or what RoBERTa, ALBERT and ELECTRA put in its place: --qa-head, masscli/objectives/extract/span_heads.py

A text is read in windows (masscli/data/batches/windows.py).  In training a window without the whole answer, and a question without one, has its
start and end at [CLS] (at the last symbol, for a decoder, which alone sees everything).  In prediction the n best starts and ends of each
window are combined; a start counts only in the window that sees most around it; answers of all windows are ranked by the sum of their two
scores, and equal texts are one answer.  The score of no answer is the least over the windows; it wins where it is above that of the best
answer by more than `--null-threshold`, which validation searches for (`best-f1`).  Where a classifier says whether there is an answer, its
score is compared with the threshold as it is.

Padding has no share in the softmax, so that a loss does not depend on the batch.  An answer is a stretch of the original text, from the
first character of its first piece to the last one of its last (masscli/text/char_offsets.py): nothing is projected back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.data.batches import windows
from masscli.data.batches.batch import Batch, Labels
from masscli.data.batches.dataset import Dataset, Example
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.metrics import squad
from masscli.models.transformer import Transformer
from masscli.objectives.extract import span_heads
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.finetuning_base import (
    ExampleOutput,
    Prediction,
    PredictiveObjective,
    SequenceReader,
)
from masscli.objectives.shared.table_columns import language_of

QUESTION, CONTEXT = "question", "context"


class Candidate(NamedTuple):
    """Tokens [start, end] of a text, and the sum of their scores."""

    score: float
    start: int
    end: int


class QuestionWindow(NamedTuple):
    """Tokens start .. start + size - 1 of a question's text; `number` among the windows of that question."""

    question: int
    number: int
    start: int
    size: int


class QuestionWindowDataset:
    """Windows of all questions, one after another; with labels, where the answer is in each."""

    def __init__(self, table: Table, options: ExtractOptions, reader: SequenceReader, labelled: bool) -> None:
        self.table, self.options, self.labelled = table, options, labelled
        self.questions, self.texts = table.ids(QUESTION), table.ids(CONTEXT)
        self.symbols = reader.pair_format.num_special_tokens(2)
        self.windows: list[QuestionWindow] = []
        asked = np.minimum(self.questions.lengths(0, len(table)), options.max_query)
        lengths = self.texts.lengths()
        for row in range(len(table)):
            room = options.max_length - self.symbols - int(asked[row])
            if room < 1:
                message = f"{table.location(row)}: a question of {asked[row]} tokens leaves no room in a window of {options.max_length}"
                raise MasscliError(message, "raise --max-length, or lower --max-query")
            length = int(lengths[table.shared_row(CONTEXT, row)])
            self.windows += [
                QuestionWindow(row, n, *w)
                for n, w in enumerate(windows.split_into_windows(length, room, options.doc_stride))
            ]
        self._sizes = np.array(
            [[w.size + self.symbols + int(asked[w.question])] for w in self.windows], np.int64
        )

    def __len__(self) -> int:
        return len(self.windows)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Question, window and symbols."""
        return self._sizes[start:stop]

    @property
    def cut(self) -> int:
        """How many questions are cut."""
        return int(np.count_nonzero(self.questions.lengths(0, len(self.table)) > self.options.max_query))

    @property
    def lost(self) -> int:
        """How many answers no window has whole."""
        room = {(w.question, w.start, w.start + w.size) for w in self.windows}
        kept = {
            q
            for q, start, stop in room
            if (a := self.answers[q]) is not None and start <= a[0] and a[1] < stop
        }
        return sum(len(self.table.item_rows("answers", row)) > 0 for row in range(len(self.table))) - len(
            kept
        )

    @cached_property
    def answers(self) -> list[tuple[int, int] | None]:
        """The first and last token of the (first) answer of each question, None where there is none."""
        return [span(self.table, row) for row in range(len(self.table))]

    def __getitem__(self, row: int) -> Example:
        w = self.windows[row]
        question = self.questions[w.question][: self.options.max_query]
        text = self.texts[self.table.shared_row(CONTEXT, w.question)][w.start : w.start + w.size]
        if not self.labelled:
            return Example(row, (question, text))
        answer = self.answers[w.question]
        inside = answer is not None and w.start <= answer[0] and answer[1] < w.start + w.size
        target = [answer[0] - w.start, answer[1] - w.start] if answer is not None and inside else [-1, -1]
        return Example(row, (question, text, np.array([*target, answer is not None], np.int64)))


def span(table: Table, row: int) -> tuple[int, int] | None:
    """The pieces that an answer's characters lie in: the first one that ends after its start, the last one that begins before its end."""
    answers = table.item_rows("answers", row)
    if not len(answers):
        return None
    begin = int(table.numbers("start", row)[0])
    stop = begin + len(table.columns["answers"].text(answers.start))
    at = table.shared_row(CONTEXT, row)
    begins, ends = table.columns["context.begin"][at], table.columns["context.end"][at]
    first, last = int(np.searchsorted(ends, begin, "right")), int(np.searchsorted(begins, stop, "left")) - 1
    return (first, last) if first <= last else None


@dataclass(frozen=True)
class QuestionWindowCollator:
    """Frames questions with windows; the place of [CLS] (or of a decoder's last symbol) stands for no answer."""

    reader: SequenceReader
    framing: Framing
    language: str

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        sequences = [self.reader.pair_format.join(e.fields[0], e.fields[1]) for e in examples]
        batch = self.reader.collate(sequences, self.framing, self.language, [e.number for e in examples])
        null_position = [0 if self.reader.stack == "encoder" else len(s.ids) - 1 for s in sequences]
        where = [
            [s.starts[1], len(e.fields[1]), none]
            for s, e, none in zip(sequences, examples, null_position, strict=True)
        ]
        rows = torch.arange(len(examples))
        labels = {"window": Labels(torch.tensor(where), rows)}
        wanted = [
            [*(s.starts[1] + int(at) if at >= 0 else none for at in e.fields[2][:2]), int(e.fields[2][2])]
            for s, e, none in zip(sequences, examples, null_position, strict=True)
            if len(e.fields) > 2
        ]
        if wanted:
            labels["extract"] = Labels(torch.tensor(wanted), rows)
        return replace(batch, labels=labels, counts={"extract": float(len(wanted))})


class Extract(PredictiveObjective):
    """Find answers."""

    def __init__(self, config: ExtractOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config
        self.reader = SequenceReader.from_options(config, context)
        self.head = span_heads.span_head(config, context.model)
        self.apart = config.qa_head != "linear" and bool(
            config.unanswerable
        )  # a classifier's score, not that of a span

    @property
    def weights(self) -> Mapping[str, float]:
        """One term."""
        return {"extract": 1.0}

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Those of SQuAD; with the best threshold where questions may have no answer."""
        return ("f1", "exact", "best-f1", "best-exact") if self.options.unanswerable else ("f1", "exact")

    @classmethod
    def fill_from_data(cls, config: ExtractOptions, data: DataFolder, name: str) -> ExtractOptions:
        """The language, and whether all questions have answers."""
        if config.qa_head == "electra" and config.head_dropout is not None:
            raise MasscliError("--head-dropout: the layers of --qa-head electra have none", "leave it out")
        table = data.table(name, "train")
        unanswerable = config.unanswerable
        if unanswerable is None:
            unanswerable = any(int(table.numbers("impossible", row)[0]) for row in range(len(table)))
        if not any(len(table.item_rows("answers", row)) for row in range(len(table))):
            raise MasscliError(f"{table.path}: not one question has an answer", "there is nothing to learn")
        return replace(config, unanswerable=unanswerable, language=language_of(config.language, table, data))

    def table_dataset(self, table: Table, labelled: bool) -> QuestionWindowDataset:
        if labelled:
            for row in range(len(table)):
                if not len(table.item_rows("answers", row)) and not int(table.numbers("impossible", row)[0]):
                    raise MasscliError(f"{table.location(row)}: has no answer, and is not said to be impossible",
                                       'add its answers, or "is_impossible": true')  # fmt: skip
        return QuestionWindowDataset(table, self.options, self.reader, labelled)

    def data_warnings(self, view: Dataset) -> list[str]:
        assert isinstance(view, QuestionWindowDataset)
        cut, several = view.cut, len(view) - len(view.table)
        found = (
            [f"{cut} of {len(view.table)} questions are cut to {self.options.max_query} tokens (--max-query)"]
            if cut
            else []
        )
        if view.labelled and (lost := view.lost):
            found.append(
                f"{lost} answers lie in no window as a whole (--max-length, --doc-stride) and are not learned"
            )
        return [*found, f"{len(view.table)} questions are read in {len(view)} windows"] if several else found

    def collator(self) -> QuestionWindowCollator:
        """Frames and pads."""
        return QuestionWindowCollator(self.reader, self.context.framing, self.options.language)

    def windows(self, model: Transformer, batch: Batch) -> span_heads.WindowStates:
        """What the model makes of a batch, and what is where in it."""
        first, size, null_position = batch.labels["window"].ids.unbind(1)
        return span_heads.WindowStates(
            self.reader.hidden_states(model, batch).float(), batch.source.lengths, first, size, null_position
        )

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """The head's loss."""
        wanted = batch.labels["extract"].ids
        loss = span_heads.loss(self.head, self.windows(model, batch), wanted[:, :2], wanted[:, 2] > 0)
        return {"extract": Term(loss, loss)}

    def forward_outputs(self, model: Transformer, batch: Batch) -> list[ExampleOutput]:
        """For each window: the score of no answer, and the spans that are looked at (see `qa_heads.candidates`)."""
        return span_heads.candidates(
            self.head, self.windows(model, batch), self.options.n_best, self.options.max_answer
        )

    def decode_predictions(self, table: Table, outputs: Sequence[ExampleOutput]) -> list[Prediction]:
        view = QuestionWindowDataset(table, self.options, self.reader, labelled=False)
        pairs = zip(view.windows, outputs, strict=True)
        return [
            self._answer(table, row, list(group))
            for row, group in groupby(pairs, key=lambda pair: pair[0].question)
        ]

    def compute_metrics(self, table: Table, outputs: Sequence[ExampleOutput]) -> dict[str, float]:
        answers = self.decode_predictions(table, outputs)
        asked = [
            squad.Question(table.text("id", row), tuple(table.strings("answers", row)))
            for row in range(len(table))
        ]
        v2 = bool(self.options.unanswerable)
        told = {a.details["id"]: a.text for a in answers}
        best = {a.details["id"]: a.details["best"] for a in answers}
        odds = {a.details["id"]: a.details["null_odds"] for a in answers}
        found = squad.evaluate_squad(asked, told, v2)
        found = {name: found[name] / 100 for name in ("f1", "exact")}
        if v2:
            whole = squad.evaluate_squad(asked, best, v2, odds, math.inf)
            found |= {"best-f1": whole["best_f1"] / 100, "best-exact": whole["best_exact"] / 100}
            found["best-f1-threshold"] = whole["best_f1_thresh"]  # what --null-threshold takes
        return found

    def _answer(
        self, table: Table, row: int, parts: Sequence[tuple[QuestionWindow, ExampleOutput]]
    ) -> Prediction:
        at, context = table.shared_row(CONTEXT, row), table.text(CONTEXT, row)
        begins, ends = table.columns["context.begin"][at], table.columns["context.end"][at]
        texts: dict[str, float] = {}
        for c in rank(parts):
            if len(texts) < self.options.n_best:
                texts.setdefault(context[int(begins[c.start]) : int(ends[c.end])], c.score)
        best = next(iter(texts), "")
        null = min(float(output[0]) for _, output in parts)
        odds = null - (0.0 if self.apart else texts[best]) if texts else math.inf
        beside = self.options.unanswerable and not self.apart  # as BERT's, it is listed however unlikely
        null_position = [("", null)] if beside or not texts else []
        listed = sorted([*texts.items(), *null_position], key=lambda item: -item[1])
        top = listed[0][1]
        total = sum(math.exp(score - top) for _, score in listed)
        n_best = [
            {"text": text, "probability": math.exp(score - top) / total, "score": score}
            for text, score in listed
        ]
        text = "" if self.options.unanswerable and odds > self.options.null_threshold else best
        odds = odds if math.isfinite(odds) else 1e9  # JSON has no infinity
        known = {
            "id": table.text("id", row),
            "answer": text,
            "best": best,
            "null_odds": odds,
            "na_prob": _sigmoid(odds),
            "n_best": n_best,
        }
        return Prediction(text, known)


def rank(parts: Sequence[tuple[QuestionWindow, ExampleOutput]]) -> list[Candidate]:
    """Spans of a question's text, best first; of each window those that start where it is the one that sees most."""
    length = max(w.start + w.size for w, _ in parts)
    owner = windows.best_window_per_token([(w.start, w.size) for w, _ in parts], length)
    found = [
        Candidate(float(score), w.start + int(i), w.start + int(j))
        for w, output in parts
        for i, j, score in output[1:].reshape(-1, 3)
        if owner[w.start + int(i)] == w.number
    ]
    return sorted(found, key=lambda c: (-c.score, c.start, c.end))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0
