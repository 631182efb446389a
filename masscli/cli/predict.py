"""Predict labels, numbers, tags, choices or answers.

RUN is the folder of a run (its best checkpoint, else its last) or a checkpoint; the default is the latest
run under runs. The input has the format that the task was trained on, with or without labels; every
example gives one prediction, in the same order. A summary on standard error says what was truncated or
left out.

Examples:
  masscli predict runs/sst2 --input test.tsv > labels.txt
  masscli predict runs/sst2 --input test.tsv --format jsonl --output predictions.jsonl
  echo "a gripping, beautiful film" | masscli predict runs/sst2 --input-format lines
  masscli predict runs/ner --input test.conll > tagged.conll
  masscli predict runs/squad --input dev.json --format json --output predictions.json
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masscli.cli.latest_run import latest_run
from masscli.cli.messages import warn
from masscli.cli.output import check_distinct, check_inputs_stay, writer
from masscli.cli.score_inputs import PREDICTION_COLUMN
from masscli.cli.text_inputs import refuse_text_as_run
from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.core.memory import tune_heap
from masscli.data.formats.bad_rows import BadRows
from masscli.generation.config import PredictConfig
from masscli.objectives.extract.options import ExtractOptions
from masscli.text.single_line import json_line, one_cell, one_line

if TYPE_CHECKING:
    from masscli.api.task_model import TaskModel
    from masscli.data.storage.tables import Table
    from masscli.objectives.shared.evaluable_objective import Prediction

COLUMN_FORMATS = ("tsv", "lines")
"""Input formats to which --format tsv can add columns."""
ADDED_COLUMNS = (PREDICTION_COLUMN, "probability")
"""Columns that --format tsv adds to those of the input; the probability only if the task gives one."""


def run(
    command: PredictConfig,
    path: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="A run or a checkpoint.")
    ] = None,
) -> None:
    """Predict each example of the input, and write the predictions; torchrun distributes the work."""
    from masscli.api.model import load
    from masscli.api.task_model import text_warnings

    started = time.perf_counter()
    written = {"--output": command.output, "--na-prob": command.na_prob}
    check_distinct(written)
    check_inputs_stay(written, [command.input])
    tune_heap()
    if path is None:
        path = latest_run("predict")
    refuse_text_as_run([path])
    device, precision = _start_process(command)
    opened = load(path, device=device, precision=precision)
    model = opened.task_model(command.stream, command.null_threshold)
    input_format = _input_format(command, model)
    _check_options(command, input_format, path, model)
    bad_rows = BadRows()
    table = model.read(command.input, input_format, bad_rows)
    if command.format == "tsv":
        _check_new_columns(command, table)
    if distributed.rank > 0:
        # The first process also gets these outputs, and only it writes them.
        model.outputs(table, command.batch_tokens)
        distributed.stop()
        return
    # Both outputs are opened now, so that a path that cannot be written is known before the work begins.
    probabilities = (
        nullcontext()
        if command.na_prob is None
        else writer(command.na_prob, "--na-prob")
    )
    with writer(command.output) as write, probabilities as write_probabilities:
        outputs, warnings = model.outputs(table, command.batch_tokens)
        # The other processes have nothing more to do, and need not wait for the files.
        distributed.stop()
        predictions = model.answers(table, outputs)
        write(_format_predictions(command.format, table, predictions))
        if write_probabilities is not None:
            write_probabilities(_no_answer_probabilities(predictions))
    unknown = model.count_unknown(table)
    if bad_rows.unread:
        print(f"{command.input}: not read: {bad_rows.unread_text()}", file=sys.stderr)
    warn(*bad_rows.doubts, *warnings, *text_warnings(table, unknown))
    seconds = time.perf_counter() - started
    print(
        f"predicted {count_of(len(table), 'example')} in {seconds:.1f} s with {path} ({model.stream}); "
        f"{unknown.unknown:,} of {unknown.pieces:,} pieces unknown",
        file=sys.stderr,
    )


def _start_process(command: PredictConfig) -> tuple[str, str]:
    """Connect to the other processes of torchrun, if any; return (device, precision) of this process.

    All processes read the whole input, and share its batches, so standard input is refused with MasscliError.
    """
    if distributed.world_size == 1:
        return command.device, command.precision
    import torch

    from masscli.training.precision import choose_device, choose_dtype

    if str(command.input) == "-":
        raise MasscliError(
            "--input -: processes cannot share standard input",
            "give a file with --input",
        )
    device = choose_device(command.device, distributed.local_rank)
    distributed.start(device)
    precision = command.precision
    if precision == "auto":
        # It may depend on a measurement, whose result must be the same for all.
        is_bf16 = choose_dtype(precision, device) == torch.bfloat16
        first = distributed.broadcast(torch.tensor(int(is_bf16), device=device))
        precision = "bf16" if int(first) else "fp32"
    return str(device), precision


def _input_format(command: PredictConfig, model: TaskModel) -> str:
    """Return the format of the input: that of --input-format, or of the file name, or the task's first one.

    Raises MasscliError if the task does not read this format.
    """
    from masscli.data.formats.registry import guess_format

    known = model.options.formats
    guessed = guess_format(command.input)
    input_format = command.input_format or guessed or known[0]
    is_unclear = command.input_format is None and guessed is None and "tsv" in known
    if is_unclear and distributed.rank == 0:
        print(
            f"reading {command.input} as {input_format}, with a header; --input-format lines reads bare text",
            file=sys.stderr,
        )
    # A task over one or two texts can also read them without a header.
    readable = (*known, "lines") if "tsv" in known else known
    if input_format not in readable:
        given = f"{command.input}: {input_format}"
        if command.input_format:
            given = f"--input-format {input_format}"
        raise MasscliError(
            f"{given}: {model.options.name} does not read it",
            f"it reads {', '.join(known)}; see --input-format",
        )
    return input_format


def _check_options(
    command: PredictConfig, input_format: str, path: Path, model: TaskModel
) -> None:
    """Raise MasscliError if --format or --na-prob do not suit the format of the input or the task."""
    if command.format == "json" and input_format != "squad":
        raise MasscliError(
            "--format json: is for answers to questions", "use --format jsonl"
        )
    # Other inputs have no rows that a column could be added to.
    if command.format == "tsv" and input_format not in COLUMN_FORMATS:
        hint = "use --format jsonl"
        if input_format == "conll":
            hint += ", or leave it out: tagged words are columns"
        raise MasscliError(
            f"--format tsv: needs a table or lines as input, {command.input} is {input_format}",
            hint,
        )
    if command.na_prob is None:
        return
    if input_format != "squad":
        raise MasscliError(
            "--na-prob: is for answers to questions",
            "leave it out; --format jsonl has the probabilities of a task",
        )
    if (
        isinstance(model.options, ExtractOptions)
        and model.options.unanswerable is False
    ):
        raise MasscliError(
            f"--na-prob: all questions that {path} was trained on have answers, "
            "so it has no probability of no answer",
            "leave it out, or train with --unanswerable",
        )


def _check_new_columns(command: PredictConfig, table: Table) -> None:
    """Raise MasscliError if the input already has a column with a name that --format tsv adds."""
    for name in ADDED_COLUMNS:
        if name in table.fields:
            raise MasscliError(
                f"--format tsv: {command.input} has a column {name!r} already",
                "rename it, or use --format jsonl",
            )


def _format_predictions(
    format: str, table: Table, predictions: Sequence[Prediction]
) -> str:
    """Return the predictions as the contents of the output file in the format text, jsonl, json or tsv."""
    if format == "json":
        return _as_squad_json(predictions)
    if format == "jsonl":
        return _as_jsonl(table, predictions)
    if format == "tsv":
        return _as_tsv(table, predictions)
    # A tagged sentence has a line for each word, and a blank one at its end.
    if table.format == "conll":
        sentences = [f"{prediction.text}\n" for prediction in predictions]
        return "".join(sentences)
    lines = []
    for prediction in predictions:
        text = prediction.text
        # An answer may span lines of its text, but is one line here.
        if table.format == "squad":
            text = " ".join(text.split())
        lines.append(f"{one_line(text)}\n")
    return "".join(lines)


def _as_squad_json(predictions: Sequence[Prediction]) -> str:
    """Return one JSON object from the id of each question to its answer, as SQuAD's evaluation reads it.

    The answer to a question that has none is an empty text.
    """
    answers = {prediction.details["id"]: prediction.text for prediction in predictions}
    return json.dumps(answers, ensure_ascii=False, indent=1) + "\n"


def _as_jsonl(table: Table, predictions: Sequence[Prediction]) -> str:
    """Return a line of JSON for each example: its number from 1 (`line`), its id if any, and prediction."""
    has_id = table.has("id") and not table.is_list("id")
    lines = []
    for row, prediction in enumerate(predictions):
        fields: dict[str, Any] = {"line": row + 1}
        if has_id:
            fields["id"] = table.text("id", row)
        lines.append(json_line({**fields, **prediction.details}) + "\n")
    return "".join(lines)


def _as_tsv(table: Table, predictions: Sequence[Prediction]) -> str:
    """Return a TSV table: the columns of the input, the prediction, and its probability if there is one."""
    numbers = [name for name in ADDED_COLUMNS if name in predictions[0].details]
    rows = [[*table.fields, PREDICTION_COLUMN, *numbers]]
    for row, prediction in enumerate(predictions):
        cells = [table.text(field, row) for field in table.fields]
        cells.append(prediction.text)
        cells += [f"{prediction.details[name]:.6f}" for name in numbers]
        rows.append(cells)
    lines = []
    for cells in rows:
        # A tab or a line break in a cell would end it.
        safe_cells = [one_cell(cell) for cell in cells]
        lines.append("\t".join(safe_cells) + "\n")
    return "".join(lines)


def _no_answer_probabilities(predictions: Sequence[Prediction]) -> str:
    """Return a JSON object from the id of each question to the probability that it has no answer."""
    probabilities = {}
    for prediction in predictions:
        if "na_prob" in prediction.details:
            probabilities[prediction.details["id"]] = prediction.details["na_prob"]
    return json.dumps(probabilities, indent=1) + "\n"
