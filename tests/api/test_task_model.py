"""Which task of a checkpoint predicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from masscli.api.task_model import TaskModel, text_warnings
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.cli.app import dispatch
from masscli.data.batches.framing import Framing
from masscli.models.presets import resolve
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.labeled.options import (
    ChooseOptions,
    ClassifyOptions,
    TagOptions,
)
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.registry import objective_class
from masscli.objectives.shared.table_options import TableOptions
from masscli.text.tokenizer import Tokenizer
from masscli.text.unknown_pieces import UnknownPieces
from tests.commands import predict, refused, succeed
from tests.toy_tasks import ENCODER, TINY, finetune

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


def test_a_checkpoint_without_a_task_predicts_nothing(
    labeled: Path, tmp_path: Path
) -> None:
    command = [str(labeled / "data"), "--max-update", "1", *TINY]
    dispatch(
        [
            "pretrain",
            *command,
            "--objective",
            "mass",
            "--save-dir",
            str(tmp_path / "mass"),
        ]
    )
    assert (
        refused("predict", tmp_path / "mass")[0]
        == f"{tmp_path / 'mass'}: was not trained for a task that has predictions"
    )
    finetune(
        labeled,
        tmp_path / "sum",
        "--task",
        "summarize",
        "--init-from",
        str(tmp_path / "mass"),
        "--table",
        "heads",
        *TINY,
        updates=1,
    )
    assert refused("predict", tmp_path / "sum") == (
        f"{tmp_path / 'sum'}: was trained to generate text",
        f"masscli generate {tmp_path / 'sum'}",
    )


def test_two_tasks_on_one_model(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = f"""
data = "{labeled / "data"}"
save_dir = "{tmp_path / "run"}"
[stream.sentiment]
dataset = "one"
objective = {{ name = "classify" }}
[stream.entities]
dataset = "conll"
objective = {{ name = "tag" }}
"""
    (tmp_path / "r.toml").write_text(toml)
    succeed([*f"finetune --config {tmp_path}/r.toml --max-update 6".split(), *ENCODER])
    metrics = Checkpoint.open(tmp_path / "run").metrics
    assert {
        "sentiment.accuracy",
        "sentiment.f1",
        "entities.entity-f1",
        "entities.accuracy",
        "f1",
        "entity-f1",
    } <= metrics.keys()
    assert "accuracy" not in metrics, "both have one"
    assert refused("predict", tmp_path / "run") == (
        f"{tmp_path / 'run'}: has several tasks",
        "choose one with --stream; it has sentiment, entities",
    )
    assert (
        len(
            predict(
                capsys,
                *f"{tmp_path}/run --stream sentiment -i {labeled}/valid.tsv".split(),
            ).splitlines()
        )
        == 12
    )


CHOICE = '{"context": "%s", "choices": ["%s", "%s"], "label": "0"}\n'
SQUAD = '{"data": [{"paragraphs": [{"context": "%s", "qas": [{"id": "1", "question": "%s"}, {"id": "2", "question": "di"}]}]}]}'
STRANGE = "\u4e16\u754c"


@pytest.mark.parametrize(
    ("options", "format", "text", "examples"),
    [
        (ClassifyOptions(labels=("a", "b"), text_columns=("sentence",)), "tsv", f"label\tsentence\n{STRANGE}\tdi ga\na\t{STRANGE}\n", [2]),
        (ClassifyOptions(labels=("a", "b"), text_columns=()), "tsv", f"label\tsentence\n{STRANGE}\tdi ga\na\t{STRANGE}\n", [2]),
        (ClassifyOptions(labels=("a", "b"), text_columns=("sentence",)), "lines", f"{STRANGE}\ndi\n\n{STRANGE} di\n", [1]),
        (TagOptions(labels=("a", "b"), word_column="1"), "conll", f"di\t{STRANGE}\n\n{STRANGE}\tX\n{STRANGE}\tX\n", [2]),
        (ChooseOptions(), "jsonl", CHOICE % (STRANGE, STRANGE, STRANGE) + CHOICE % (STRANGE, STRANGE, "di"), [1]),
        (ExtractOptions(), "squad", SQUAD % (STRANGE, STRANGE), [1]),
    ],
)  # fmt: skip
def test_examples_with_only_unknown_pieces_are_found(
    labeled: Path,
    tmp_path: Path,
    options: TableOptions,
    format: str,
    text: str,
    examples: list[int],
) -> None:
    """Labels do not count, since no model reads them as text."""
    tokenizer = Tokenizer.load(labeled / "data")
    nothing: Any = None
    options = replace(options, language="en")
    size = resolve({"arch": "tiny"})
    context = ObjectiveContext(Framing(tokenizer.vocab, False, False, ()), size, "task")
    objective: Any = objective_class(options.name)(options, context)
    model = TaskModel(nothing, objective, options, tokenizer, "task")
    path = tmp_path / "input"
    path.write_text(text, encoding="utf-8")
    counts = model.count_unknown(model.read(path, format))
    assert counts.lines == examples
    assert 0 < counts.unknown < counts.pieces


def test_examples_without_text_are_named() -> None:
    tokenizer: Any = SimpleNamespace(vocab=SimpleNamespace(unk=0, special_ids=()))
    table: Any = SimpleNamespace(location=lambda row: f"x.tsv:{row + 2}")
    counts = UnknownPieces()
    for number, ids in enumerate(([5, 6], [], [7], []), 1):
        counts.add(tokenizer, number, ids)
    assert text_warnings(table, counts) == ["there is no text in x.tsv:3, x.tsv:5"]
