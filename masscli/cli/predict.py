"""Predict labels, numbers, tags, choices or answers.

RUN is the folder of a run (its best checkpoint, else its last) or a checkpoint. The input is of the kind the task was trained on, with or
without labels; every example gives one prediction, in the same order. What was cut or left out is summed up on stderr.

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
from typing import TYPE_CHECKING, Annotated

import typer

from masscli.cli.output import writer
from masscli.cli.score_inputs import TOLD
from masscli.core.errors import MasscliError
from masscli.generation.config import PredictConfig
from masscli.objectives.extract.options import ExtractOptions

FLAT = ("tsv", "lines")
"""Input whose fields are columns."""
ADDED = (TOLD, "probability")
"""Columns that --format tsv puts behind those of the input; the second where the task has it."""

if TYPE_CHECKING:
    from masscli.data.storage.tables import Table
    from masscli.objectives.shared.evaluable_objective import Prediction


def run(
    command: PredictConfig,
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run or a checkpoint.")],
) -> None:
    """Predict, example by example."""
    from masscli.api.task_model import TaskModel
    from masscli.data.formats.registry import guess_format
    from masscli.training.precision import choose_device, choose_dtype

    started = time.perf_counter()
    device = choose_device(command.device)
    predictor = TaskModel.open(
        path, command.stream, command.null_threshold, device, choose_dtype(command.precision, device)
    )
    known = predictor.options.formats
    kind = command.input_format or guess_format(command.input) or known[0]
    if command.input_format is None and guess_format(command.input) is None and "tsv" in known:
        print(
            f"reading {command.input} as {kind}, with a header; --input-format lines reads bare text",
            file=sys.stderr,
        )
    if kind not in (*known, "lines") or (kind == "lines" and "tsv" not in known):
        given = f"--input-format {kind}" if command.input_format else f"{command.input}: {kind}"
        raise MasscliError(
            f"{given}: {predictor.options.name} does not read it",
            f"it reads {', '.join(known)}; see --input-format",
        )
    _check(command, kind)
    if (
        command.na_prob is not None
        and isinstance(predictor.options, ExtractOptions)
        and not predictor.options.unanswerable
    ):
        message = f"--na-prob: all questions that {path} was trained on have answers, and so it knows no odds of none"
        raise MasscliError(message, "leave it out, or train with --unanswerable")
    table = predictor.read(command.input, kind)
    if command.format == "tsv" and (there := [name for name in ADDED if name in table.fields]):
        raise MasscliError(
            f"--format tsv: {command.input} has a column {there[0]!r} already",
            "rename it, or use --format jsonl",
        )
    odds = writer(command.na_prob, "--na-prob") if command.na_prob is not None else nullcontext()
    with (
        writer(command.output) as write,
        odds as write_odds,
    ):  # a path that cannot be written is known before the work
        outputs, remarks = predictor.outputs(table, command.batch_tokens)
        answers = predictor.answers(table, outputs)
        write(_json(answers) if command.format == "json" else "".join(_shown(command.format, table, answers)))
        if write_odds is not None:
            write_odds(
                json.dumps(
                    {a.details["id"]: a.details["na_prob"] for a in answers if "na_prob" in a.details},
                    indent=1,
                )
                + "\n"
            )
    for remark in remarks:
        print(f"warning: {remark}", file=sys.stderr)
    seconds = time.perf_counter() - started
    print(
        f"predicted {len(table)} examples in {seconds:.1f} s with {path} ({predictor.stream})",
        file=sys.stderr,
    )


def _check(command: PredictConfig, kind: str) -> None:
    """What is written must suit what is read."""
    if command.format == "json" and kind != "squad":
        raise MasscliError("--format json: is for answers to questions", "use --format jsonl")
    if command.format == "tsv" and kind not in FLAT:
        columns = ", or leave it out: tagged words are columns" if kind == "conll" else ""
        raise MasscliError(
            f"--format tsv: adds columns to a table or to lines, {command.input} is {kind}",
            f"use --format jsonl{columns}",
        )
    if command.na_prob is not None and kind != "squad":
        raise MasscliError(
            "--na-prob: is for answers to questions",
            "leave it out; --format jsonl has the probabilities of a task",
        )


def _json(answers: Sequence[Prediction]) -> str:
    """One object, from the id of each question to its answer: what SQuAD's evaluation reads."""
    return json.dumps({a.details["id"]: a.text for a in answers}, ensure_ascii=False, indent=1) + "\n"


def _shown(format: str, table: Table, answers: Sequence[Prediction]) -> list[str]:
    if format == "jsonl":
        named = table.has("id") and not table.is_list("id")
        ids = [{"id": table.text("id", row)} if named else {} for row in range(len(table))]
        every = enumerate(zip(ids, answers, strict=True), 1)
        return [
            json.dumps({"line": n, **known, **a.details}, ensure_ascii=False) + "\n"
            for n, (known, a) in every
        ]
    if format == "text":
        return [_one_line(a.text) + "\n" if table.format == "squad" else f"{a.text}\n" for a in answers]
    numbers = [name for name in ADDED if name in answers[0].details]
    head = "\t".join([*table.fields, TOLD, *numbers]) + "\n"
    rows = []
    for row, answer in enumerate(answers):
        shares = [f"{answer.details[name]:.6f}" for name in numbers]
        rows.append(
            "\t".join([*(table.text(field, row) for field in table.fields), answer.text, *shares]) + "\n"
        )
    return [head, *rows]


def _one_line(text: str) -> str:
    return " ".join(text.split())
