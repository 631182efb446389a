"""Extractive question answering: find where an answer starts and ends in a text (see README.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Dataset
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.metrics import squad
from masscli.models.transformer import Transformer
from masscli.objectives.extract.answers import decode_answer
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.extract.question_windows import (
    ANSWERS,
    CONTEXT,
    QUESTION,
    QuestionWindowCollator,
    QuestionWindowDataset,
)
from masscli.objectives.extract.span_heads import (
    WindowStates,
    build_span_head,
    span_loss,
)
from masscli.objectives.extract.span_search import search_windows
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.evaluable_objective import (
    ExampleOutput,
    Prediction,
    PredictiveObjective,
)
from masscli.objectives.shared.sequence_reader import SequenceReader
from masscli.objectives.shared.table_columns import choose_language


class Extract(PredictiveObjective):
    """Extractive question answering: find the answer to a question as a span of a text."""

    def __init__(self, config: ExtractOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config
        self.reader = SequenceReader.from_options(config, context)
        self.head = build_span_head(config, context.model)
        self.has_classifier = config.qa_head != "linear" and bool(config.unanswerable)

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of the only loss term, `extract`, which is 1."""
        return {"extract": 1.0}

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of SQuAD's metrics, the main one first.

        If questions may have no answer, the metrics at the best --null-threshold are among them.
        """
        if self.options.unanswerable:
            return ("f1", "exact", "best-f1", "best-exact")
        return ("f1", "exact")

    @classmethod
    def fill_from_data(
        cls, config: ExtractOptions, data: DataFolder, name: str
    ) -> ExtractOptions:
        """Return a copy of the options, with `language` and `unanswerable` filled in from the training table.

        Values that are given stay. Raises MasscliError if no question has an answer, if the data lack the
        language, or if --head-dropout is given with --qa-head electra, which has no dropout.
        """
        # An option without effect would mislead.
        if config.qa_head == "electra" and config.head_dropout is not None:
            raise MasscliError(
                "--head-dropout: --qa-head electra has no dropout", "leave it out"
            )
        table = data.table(name, "train")
        unanswerable = config.unanswerable
        if unanswerable is None:
            unanswerable = any(_is_impossible(table, row) for row in range(len(table)))
        if not any(_has_answer(table, row) for row in range(len(table))):
            raise MasscliError(
                f"{table.path}: not one question has an answer",
                "there is nothing to learn",
            )
        language = choose_language(config.language, table, data)
        return replace(config, unanswerable=unanswerable, language=language)

    def table_dataset(self, table: Table, labeled: bool) -> QuestionWindowDataset:
        """Return the windows of all questions, with the positions of their answers if `labeled`.

        Raises MasscliError if a question of a labeled table has no answer and is not marked as impossible.
        """
        if labeled:
            for row in range(len(table)):
                if not _has_answer(table, row) and not _is_impossible(table, row):
                    raise MasscliError(
                        f"{table.location(row)}: has no answer, and is not marked as impossible",
                        'add its answers, or "is_impossible": true',
                    )
        return QuestionWindowDataset(table, self.options, self.reader, labeled)

    def text_fields(self, table: Table) -> tuple[str, ...]:
        """Return the question, and the text in which its answer is found."""
        return (QUESTION, CONTEXT)

    def data_warnings(self, dataset: Dataset) -> list[str]:
        """Return warnings that count truncated questions, answers that no window holds, and windows.

        Windows are counted only if some questions have several.
        """
        assert isinstance(dataset, QuestionWindowDataset)
        num_questions = len(dataset.table)
        warnings = []
        truncated = dataset.num_truncated_questions
        if truncated:
            warnings.append(
                f"{truncated} of {num_questions} questions are truncated to {self.options.max_query} tokens"
                " (--max-query)"
            )
        lost = dataset.num_lost_answers if dataset.labeled else 0
        if lost:
            warnings.append(
                f"not learned: {count_of(lost, 'answer')} in no window as a whole "
                "(--max-length, --doc-stride)"
            )
        if len(dataset) != num_questions:
            warnings.append(
                f"{num_questions} questions are read in {len(dataset)} windows"
            )
        return warnings

    def collator(self) -> QuestionWindowCollator:
        """Return the collator, which makes batches of windows."""
        return QuestionWindowCollator(self.reader)

    def window_states(self, model: Transformer, batch: Batch) -> WindowStates:
        """Run the model on a batch of windows, and return their hidden states with the positions in them."""
        text_start, text_size, null_position = batch.labels["window"].ids.unbind(1)
        states = self.reader.hidden_states(model, batch).float()
        return WindowStates(
            states, batch.source.lengths, text_start, text_size, null_position
        )

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the loss of finding starts, ends and unanswerable questions, summed over windows."""
        start, end, has_answer = batch.labels["extract"].ids.unbind(1)
        windows = self.window_states(model, batch)
        loss = span_loss(self.head, windows, start, end, has_answer > 0)
        return {"extract": Term(loss, loss)}

    def forward_outputs(self, model: Transformer, batch: Batch) -> list[ExampleOutput]:
        """Return an array for each window: the score of no answer, and three numbers for each best span.

        The numbers are first token, last token and score; see `search_windows`.
        """
        windows = self.window_states(model, batch)
        return search_windows(
            self.head, windows, self.options.n_best, self.options.max_answer
        )

    def decode_predictions(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> list[Prediction]:
        """Return the answer to each question.

        `outputs` has the array that `forward_outputs` returns for each window, in the order of the dataset,
        in which the windows of a question follow each other.
        """
        dataset = QuestionWindowDataset(table, self.options, self.reader, labeled=False)
        window_outputs = zip(dataset.windows, outputs, strict=True)
        predictions = []
        for row, windows in groupby(window_outputs, key=lambda pair: pair[0].question):
            prediction = decode_answer(
                table, row, list(windows), self.options, self.has_classifier
            )
            predictions.append(prediction)
        return predictions

    def compute_metrics(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> dict[str, float]:
        """Return the exact match (`exact`) and F1 (`f1`) of the answers, as percentages.

        If questions may have no answer, also the best values that any --null-threshold reaches (`best-f1`,
        `best-exact`), and the threshold for the best F1 (`best-f1-threshold`).
        """
        questions = []
        answers = {}
        best_texts = {}
        null_odds = {}
        for row, prediction in enumerate(self.decode_predictions(table, outputs)):
            question_id = table.text("id", row)
            questions.append(
                squad.Question(question_id, tuple(table.strings(ANSWERS, row)))
            )
            answers[question_id] = prediction.text
            best_texts[question_id] = prediction.details["best"]
            null_odds[question_id] = prediction.details["null_odds"]
        # SQuAD 2.0 scores questions without an answer, too, and reports scores at the best threshold.
        is_v2 = bool(self.options.unanswerable)
        scores = squad.evaluate_squad(questions, answers, is_v2)
        metrics = {"f1": scores["f1"], "exact": scores["exact"]}
        if is_v2:
            # The threshold is searched for with the best span as the answer to every question.
            scores = squad.evaluate_squad(
                questions, best_texts, is_v2, null_odds, math.inf
            )
            metrics["best-f1"] = scores["best_f1"]
            metrics["best-exact"] = scores["best_exact"]
            metrics["best-f1-threshold"] = scores["best_f1_thresh"]
        return metrics


def _has_answer(table: Table, row: int) -> bool:
    return len(table.item_rows(ANSWERS, row)) > 0


def _is_impossible(table: Table, row: int) -> bool:
    return bool(table.numbers("impossible", row)[0])
