"""Which task of a checkpoint predicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.cli.app import dispatch
from tests.task_commands import predict, refused
from tests.toy_tasks import ENCODER, TINY, finetune

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


def test_a_checkpoint_without_a_task_predicts_nothing(labelled: Path, tmp_path: Path) -> None:
    at = [str(labelled / "data"), "--max-update", "1", *TINY]
    dispatch(["pretrain", *at, "--objective", "mass", "--save-dir", str(tmp_path / "mass")])
    assert (
        refused("predict", tmp_path / "mass")[0]
        == f"{tmp_path / 'mass'}: was not trained for a task that has predictions"
    )
    finetune(
        labelled,
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


def test_two_tasks_on_one_model(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml = f"""
data = "{labelled / "data"}"
save_dir = "{tmp_path / "run"}"
[stream.sentiment]
dataset = "one"
objective = {{ name = "classify" }}
[stream.entities]
dataset = "conll"
objective = {{ name = "tag" }}
"""
    (tmp_path / "r.toml").write_text(toml)
    assert dispatch(["finetune", "--config", str(tmp_path / "r.toml"), "--max-update", "6", *ENCODER]) == 0
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
                capsys, tmp_path / "run", "--stream", "sentiment", "-i", labelled / "valid.tsv"
            ).splitlines()
        )
        == 12
    )
