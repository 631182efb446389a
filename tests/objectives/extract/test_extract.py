"""Question answering from the command line: windows, answers, and no answer."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masscli.api.model import load
from masscli.api.task_model import TaskModel
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.cli.preprocess import run
from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.extract.question_windows import (
    QuestionWindowDataset,
    answer_token_span,
)
from tests.commands import predict, refused, succeed
from tests.toy_tasks import ENCODER, TINY, finetune

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


@pytest.mark.parametrize(
    ("head", "stack"),
    [
        ("linear", "encoder"),
        ("roberta", "encoder"),
        ("albert", "encoder"),
        ("electra", "decoder"),
    ],
)
def test_extract_answers_every_question(
    head: str,
    stack: str,
    labeled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = "--max-length 24 --max-query 8 --doc-stride 4 --best-metric f1".split()
    model = ENCODER if stack == "encoder" else [*TINY, "--encoder-layers", "0"]
    measured = finetune(
        labeled,
        tmp_path / "run",
        "--task",
        "extract",
        *model,
        *small,
        "--qa-head",
        head,
        updates=60,
    )
    assert measured[-1]["f1"] > 70
    answers = json.loads(
        predict(
            capsys,
            *(
                f"{tmp_path}/run -i {labeled}/valid.json --format json "
                f"--na-prob {tmp_path}/odds"
            ).split(),
        )
    )
    assert len(answers) == 12
    (tmp_path / "told").write_text(json.dumps(answers))
    succeed(f"score {tmp_path}/told --ref {labeled}/valid.json --metric squad")
    best = Checkpoint.open(tmp_path / "run").metrics
    assert f"f1           = {best['f1']:.2f}" in capsys.readouterr().out
    never = json.loads(
        predict(
            capsys,
            *(
                f"{tmp_path}/run -i {labeled}/valid.json --format json "
                "--null-threshold 1e9"
            ).split(),
        )
    )
    always = json.loads(
        predict(
            capsys,
            *(
                f"{tmp_path}/run -i {labeled}/valid.json --format json "
                "--null-threshold -1e9"
            ).split(),
        )
    )
    assert all(never.values())
    assert not any(always.values())
    searched = str(
        next(
            value for name, value in best.items() if name.endswith("best-f1-threshold")
        )
    )
    answers = predict(
        capsys,
        *(
            f"{tmp_path}/run -i {labeled}/valid.json --format json "
            f"--null-threshold {searched}"
        ).split(),
    )
    (tmp_path / "told").write_text(answers)
    succeed(f"score {tmp_path}/told --ref {labeled}/valid.json --metric squad")
    assert f"f1           = {best['best-f1']:.2f}" in capsys.readouterr().out, (
        "the threshold that validation found"
    )


@pytest.mark.parametrize("head", ["linear", "roberta", "albert"])
def test_the_least_confident_window_decides_that_there_is_no_answer(
    head: str, labeled: Path, tmp_path: Path
) -> None:
    """The odds of no answer are a classifier's score, or how much its score exceeds that of the best answer."""
    small = ["--max-length", "14", "--max-query", "6", "--doc-stride", "3"]
    finetune(
        labeled,
        tmp_path / "run",
        "--task",
        "extract",
        *ENCODER,
        *small,
        "--qa-head",
        head,
        updates=8,
    )

    def opened(threshold: float) -> TaskModel:
        return load(tmp_path / "run", device="cpu", precision="fp32").task_model(
            null_threshold=threshold
        )

    predictor = opened(0.0)
    table = predictor.read(labeled / "valid.json", "squad")
    outputs, _ = predictor.outputs(table, 1000)
    answers = predictor.answers(table, outputs)
    windows = predictor.objective.table_dataset(table, labeled=False)
    assert isinstance(windows, QuestionWindowDataset) and len(windows) > len(table)
    null_scores = [math.inf] * len(table)
    for window, output in zip(windows.windows, outputs, strict=True):
        null_scores[window.question] = min(null_scores[window.question], output[0])
    odds = []
    for null_score, answer in zip(null_scores, answers, strict=True):
        n_best = answer.details["n_best"]
        scores = {each["text"]: each["score"] for each in n_best}
        best_score = scores[answer.details["best"]] if head == "linear" else 0
        odds.append(null_score - best_score)
        assert answer.details["null_odds"] == pytest.approx(odds[-1])
        assert answer.details["na_prob"] == pytest.approx(1 / (1 + math.exp(-odds[-1])))
        assert sum(each["probability"] for each in n_best) == pytest.approx(1)
        assert ("" in scores) is (head == "linear")
    for at in sorted(odds)[::3]:
        told = opened(at).answers(table, outputs)
        assert [bool(answer.text) for answer in told] == [x <= at for x in odds]


def test_a_span_is_within_its_window_or_absent(labeled: Path, tmp_path: Path) -> None:
    small = ["--max-length", "14", "--max-query", "6", "--doc-stride", "3"]
    finetune(
        labeled, tmp_path / "run", "--task", "extract", *ENCODER, *small, updates=1
    )
    objective = (
        load(tmp_path / "run", device="cpu", precision="fp32").task_model().objective
    )
    data = DataFolder.open(labeled / "data")
    view, tokenizer, positive = objective.dataset(data, "train")[0], data.tokenizer(), 0
    assert len(view) > 64
    for row in range(len(view)):
        batch = objective.collator()([view[row]], [])
        start, end, _ = batch.labels["extract"].ids[0].tolist()
        if (start, end) != (0, 0):
            positive += 1
            assert (
                tokenizer.decode(batch.source.ids[0, start : end + 1].tolist(), "en")
                == "ga"
            )
    assert positive >= 32


def test_a_question_that_leaves_no_room_for_the_text_is_named(
    labeled: Path, tmp_path: Path
) -> None:
    command = [
        *f"finetune {labeled}/data --task extract --save-dir {tmp_path}/run".split(),
        *ENCODER,
    ]
    message = "--max-length: 20 leaves a text no room beside --max-query (64) and four symbols"
    assert refused(*command, "--max-length", 20)[0] == message
    answered = {
        "id": "q",
        "question": "ba",
        "answers": [{"text": "bo", "answer_start": 3}],
    }
    text = {"context": "ba bo", "qas": [answered, {"id": "r", "question": "?"}]}
    (tmp_path / "x.json").write_text(json.dumps({"data": [{"paragraphs": [text]}]}))
    unsaid = text["qas"].pop()
    (tmp_path / "y.json").write_text(json.dumps({"data": [{"paragraphs": [text]}]}))
    # Of a test split, answers may be kept back.
    run(
        PreprocessConfig(
            spm_model=labeled / "data",
            squad=(f"train={tmp_path / 'y.json'}", f"test={tmp_path / 'x.json'}"),
            destdir=tmp_path / "data",
        )
    )
    assert unsaid["id"] == "r"
    command[1] = tmp_path / "data"
    assert refused(
        *command, "--max-length", 60, "--max-query", 30, "--valid-subset", "test"
    ) == (
        f"{tmp_path / 'x.json'}: question 'r': has no answer, and is not marked as impossible",
        'add its answers, or "is_impossible": true',
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("start", [-1], "its answer starts outside its text"),
        ("start", [10**6], "its answer starts outside its text"),
        ("start", [], "its answer starts outside its text"),
        ("start", [0, 0], "its answer starts outside its text"),
        ("context.begin", [0], "the positions of its tokens are outside its text"),
        ("context.end", [10**6], "the positions of its tokens are outside its text"),
    ],
)
def test_offsets_outside_of_a_text_are_named(
    field: str,
    value: list[int],
    message: str,
    labeled: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A folder whose checksums were recomputed after a change can hold such offsets."""
    table = DataFolder.open(labeled / "data").table("squad", "train")
    row = next(row for row in range(len(table)) if len(table.item_rows("answers", row)))
    column = table.columns[field]
    changed = row if field == "start" else table.shared_row("context", row)
    original = type(column).__getitem__

    def damaged(self: object, index: int) -> Any:
        numbers = original(self, index)  # type: ignore[arg-type]
        if self is not column or index != changed:
            return numbers
        if field == "context.end":
            return np.concatenate([numbers[:-1], value])
        return np.array(value, np.int64)

    monkeypatch.setattr(type(column), "__getitem__", damaged)
    with pytest.raises(MasscliError, match=message):
        answer_token_span(table, row)
