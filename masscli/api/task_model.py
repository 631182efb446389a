"""A model that was fine-tuned for a task over labeled examples, ready to predict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from masscli.api.ensemble import Ensemble
from masscli.api.examples import Example, records_of
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.errors import MasscliError
from masscli.core.listing import list_some
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sampler import BatchLimits, BatchSampler
from masscli.data.formats.bad_rows import BadRows
from masscli.data.prepare.record_encoder import load_table, table_of_records
from masscli.data.storage.tables import Table
from masscli.models.transformer import Transformer
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.objective import Objective, ObjectiveContext
from masscli.objectives.registry import objective_class
from masscli.objectives.shared.evaluable_objective import (
    ExampleOutput,
    Prediction,
    PredictiveObjective,
)
from masscli.objectives.shared.table_options import TableOptions
from masscli.text.tokenizer import Tokenizer
from masscli.text.unknown_pieces import MAX_LISTED, UnknownPieces
from masscli.training.evaluate_outputs import evaluate_outputs
from masscli.training.recipe import StreamConfig


@dataclass(frozen=True)
class TaskModel:
    """A trained model together with the objective (head) and the options of one labeled task.

    `stream` is the name of the training stream of the task.
    """

    model: Transformer
    objective: PredictiveObjective
    options: TableOptions
    tokenizer: Tokenizer
    stream: str

    @classmethod
    def open(
        cls,
        ensemble: Ensemble,
        stream: str | None = None,
        null_threshold: float | None = None,
    ) -> TaskModel:
        """Open one labeled task of a model, with its weights on the device.

        `stream` names the training stream of the task, if the run was trained on several. `null_threshold`
        replaces the trained threshold above which a question counts as unanswerable.

        Raises MasscliError if there are several models, if the model has no such task, or if `null_threshold`
        is given for a task that has no such threshold.
        """
        path, checkpoint = ensemble.paths[0], ensemble.first
        if len(ensemble.paths) > 1:
            raise MasscliError(
                f"{ensemble.paths[1]}: predictions are made by one model",
                "name a single run",
            )
        name, options = _select_task(path, checkpoint, stream)
        if null_threshold is not None:
            options = _with_null_threshold(path, options, null_threshold)
        config = replace(checkpoint.recipe.stream[name], objective=options)
        objective = objective_of(config, checkpoint)
        assert isinstance(objective, PredictiveObjective)
        checkpoint.restore_objective(name, objective)
        objective.to(ensemble.device).eval().requires_grad_(False)
        return cls(ensemble.models[0], objective, options, ensemble.tokenizer, name)

    def read(self, path: Path, kind: str, bad_rows: BadRows | None = None) -> Table:
        """Return the examples of a file as a table of tokenized fields; `kind` is its format, such as tsv.

        What is not read is counted in `bad_rows`. Raises MasscliError for a row that cannot be read.
        """
        language = self.options.language
        return load_table(path, kind, self.tokenizer, language, bad_rows)

    def table_of(self, examples: Sequence[Example]) -> Table:
        """Return examples as a table of tokenized fields.

        Raises MasscliError for an example that the task cannot read.
        """
        format, records = records_of(examples, self.options)
        return table_of_records(
            records, "examples", format, self.tokenizer, self.options.language
        )

    def count_unknown(self, table: Table) -> UnknownPieces:
        """Count the pieces that are not in the vocabulary, in all texts of a table that the task reads.

        Each count belongs to the number of its example, from 1.
        """
        fields = self.objective.text_fields(table)
        counts = UnknownPieces()
        for row in range(len(table)):
            ids: list[int] = []
            for field in fields:
                rows: Iterable[int] = [table.shared_row(field, row)]
                if table.is_list(field):
                    rows = table.item_rows(field, row)
                for text_row in rows:
                    ids += table.ids(field)[text_row].tolist()
            counts.add(self.tokenizer, row + 1, ids)
        return counts

    def outputs(
        self, table: Table, batch_tokens: int
    ) -> tuple[list[ExampleOutput], list[str]]:
        """Run the model over a table; return its raw outputs, and warnings about the data.

        An output is an array of `EvaluableObjective.forward_outputs`. There is one for each row, in order, or
        for each window of the text of a question. A batch has at most `batch_tokens` pieces, or more if the
        longest example has more.
        """
        dataset = self.objective.table_dataset(table, labeled=False)
        # Predicting never leaves out an example, so the longest one must fit into a batch.
        longest = int(dataset.sizes(0, len(dataset)).max())
        limits = BatchLimits(max(batch_tokens, longest))
        # Unshuffled, and with seed 0: nothing in prediction is random.
        sampler = BatchSampler(
            len(dataset), dataset.sizes, limits, 0, self.stream, shuffle=False
        )
        batch_builder = BatchBuilder(self.stream, dataset, self.objective.collator(), 0)
        outputs = evaluate_outputs(self.model, self.objective, batch_builder, sampler)
        return outputs, self.objective.data_warnings(dataset)

    def answers(
        self, table: Table, outputs: Sequence[ExampleOutput]
    ) -> list[Prediction]:
        """Decode the raw outputs of the model for a table into one prediction for each row, in its order."""
        answers = self.objective.decode_predictions(table, outputs)
        assert len(answers) == len(table)
        return answers


def text_warnings(table: Table, unknown: UnknownPieces) -> list[str]:
    """Return warnings that name the examples without any text, and those of which no piece is known.

    `unknown` is the result of `TaskModel.count_unknown` for the table.
    """
    warnings = []
    for numbers, problem in (
        (unknown.empty, "there is no text"),
        (unknown.lines, "no piece of the text is known"),
    ):
        places = [table.location(number - 1) for number in numbers]
        if places:
            warnings.append(f"{problem} in {list_some(places, MAX_LISTED)}")
    return warnings


def objective_of(stream: StreamConfig, checkpoint: Checkpoint) -> Objective:
    """Build the objective of a training stream, without loading its trained parameters."""
    context = ObjectiveContext(
        checkpoint.framing(), checkpoint.recipe.model, stream.dataset
    )
    objective = objective_class(stream.objective.name)(stream.objective, context)
    assert isinstance(objective, Objective)
    return objective


def _select_task(
    path: Path, checkpoint: Checkpoint, stream: str | None
) -> tuple[str, TableOptions]:
    """Return (stream name, options) of the labeled task that `stream` names; None means the only one.

    Raises MasscliError if there is no such task, or if `stream` is None and there are several.
    """
    tasks: dict[str, TableOptions] = {}
    for name, config in checkpoint.recipe.stream.items():
        if isinstance(config.objective, TableOptions):
            tasks[name] = config.objective
    if not tasks:
        # The model is fine, but the command is the wrong one, so the hint names the right one.
        if checkpoint.directions:
            raise MasscliError(
                f"{path}: was trained to generate text", f"masscli generate {path}"
            )
        raise MasscliError(
            f"{path}: was not trained for a task that has predictions",
            "train one: masscli finetune --task classify",
        )
    if stream is None and len(tasks) > 1:
        raise MasscliError(
            f"{path}: has several tasks",
            f"choose one with --stream; it has {', '.join(tasks)}",
        )
    name = stream or next(iter(tasks))
    if name not in tasks:
        raise MasscliError(
            f"--stream {name}: {path} has no such task", f"it has {', '.join(tasks)}"
        )
    return name, tasks[name]


def _with_null_threshold(
    path: Path, options: TableOptions, threshold: float
) -> TableOptions:
    """Return the options with the no-answer threshold replaced by `threshold`.

    Raises MasscliError if the task is not question answering, or if it always gives an answer.
    """
    if not isinstance(options, ExtractOptions):
        raise MasscliError(
            f"--null-threshold: {options.name} is not question answering",
            "leave it out",
        )
    if options.unanswerable is False:
        raise MasscliError(
            f"--null-threshold: all questions that {path} was trained on have answers, "
            "so it always gives an answer",
            "leave it out, or train with --unanswerable",
        )
    # An imported model does not say whether its questions may have no answer, so the user does.
    return replace(options, unanswerable=True, null_threshold=threshold)
