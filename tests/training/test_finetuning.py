"""Which parameters fine-tuning trains, and at which rate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.cli.app import dispatch
from masscli.core.config import from_dict
from masscli.training.config import OptimConfig
from masscli.training.optim import layer_scale
from tests.commands import refused
from tests.toy_tasks import ENCODER, REST, TINY, finetune

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


def test_frozen_weights_do_not_change(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*ENCODER, "--encoder-layers", "2"]
    finetune(
        labeled,
        tmp_path / "a",
        "--task",
        "classify",
        "--table",
        "one",
        *command,
        updates=1,
    )
    rest = [*REST, "--init-from", str(tmp_path / "a")]
    finetune(
        labeled,
        tmp_path / "b",
        "--task",
        "tag",
        *rest,
        "--freeze",
        "embeddings,1",
        updates=3,
    )
    assert "frozen: embeddings, 1 (" in capsys.readouterr().err
    before, after = (
        Checkpoint.open(tmp_path / "a").weights(),
        Checkpoint.open(tmp_path / "b").weights(),
    )
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {
        name
        for name in before
        if name.startswith(("token_embeddings.", "encoder.layers.0."))
    }
    assert refused(
        "finetune",
        labeled / "data",
        "--task",
        "tag",
        *rest,
        "--freeze",
        "decoder",
        "--save-dir",
        tmp_path / "c",
    ) == (
        "--freeze decoder: the model has no such part",
        "name embeddings, a stack or layers that it has",
    )
    assert refused(
        "finetune", labeled / "data", "--task", "tag", *rest, "--freeze", "head"
    )[0] == (
        "--freeze: expected embeddings, old-embeddings, encoder, decoder or a number of layers, got 'head'"
    )


def test_an_encoder_and_a_decoder_of_two_runs(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for objective, half in (("mlm", "--decoder-layers"), ("clm", "--encoder-layers")):
        command = [
            "--objective",
            objective,
            "--max-update",
            "1",
            "--save-dir",
            str(tmp_path / objective),
            *TINY,
            half,
            "0",
        ]
        dispatch(["pretrain", str(labeled / "data"), *command])
    rest = [
        *REST,
        "--init-from",
        str(tmp_path / "mlm"),
        "--init-decoder-from",
        str(tmp_path / "clm"),
    ]
    capsys.readouterr()
    frozen = ["--freeze", "embeddings,encoder,decoder", "--save-dir", tmp_path / "x"]
    found = refused(
        *f"finetune {labeled}/data --task summarize --table heads".split(),
        *rest,
        *frozen,
    )
    assert found == ("no parameter is left to train", "freeze less")
    finetune(
        labeled,
        tmp_path / "run",
        "--task",
        "summarize",
        "--table",
        "heads",
        *rest,
        "--freeze",
        "embeddings,encoder",
        updates=1,
    )
    assert "new, drawn at random: decoder (" in capsys.readouterr().err, (
        "a language model has no cross-attention"
    )
    ours, mlm = (
        Checkpoint.open(tmp_path / "run").weights(),
        Checkpoint.open(tmp_path / "mlm").weights(),
    )
    assert all(torch.equal(ours[name], tensor) for name, tensor in mlm.items())


def test_a_run_can_be_continued_without_its_initial_weights(
    labeled: Path, tmp_path: Path
) -> None:
    """Whoever copies a run to another machine, or tidies up, has the pre-trained model no longer."""
    start = ["--task", "classify", "--table", "one"]
    finetune(labeled, tmp_path / "a", *start, *ENCODER, updates=1)
    command = [*start, *REST, "--lr-scheduler", "constant"]
    given = ["--init-from", str(tmp_path / "a")]
    finetune(labeled, tmp_path / "whole", *command, *given, updates=3)
    finetune(labeled, tmp_path / "run", *command, *given, updates=2)
    (tmp_path / "a").rename(tmp_path / "elsewhere")
    finetune(labeled, tmp_path / "run", *command, updates=3)
    whole, resumed = (
        Checkpoint.open(tmp_path / name / "checkpoints" / "last").weights()
        for name in ("whole", "run")
    )
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    # A run that begins needs them.
    assert refused(
        "finetune", labeled / "data", *command, *given, "--save-dir", tmp_path / "new"
    ) == (
        f"{tmp_path / 'a'}: no such run or checkpoint",
        "train one with `masscli pretrain` or `masscli finetune`",
    )


def test_the_rates_of_electra() -> None:
    """With 12 layers and decay 0.8, the head has rate 1, layer 11 has 0.64, and the embeddings 0.0440."""
    config = from_dict(OptimConfig, {"layer_decay": 0.8, "layer_decay_offset": 2})
    names = [
        "objective.x.head.out.weight",
        "encoder.layers.11.fc1.weight",
        "encoder.layers.0.fc1.weight",
        "token_embeddings.shared",
    ]
    assert [round(layer_scale(config, name, 12), 4) for name in names] == [
        1,
        0.64,
        0.055,
        0.044,
    ]
    every = [*(f"encoder.layers.{n}.fc1.weight" for n in range(12)), *names]
    assert len({layer_scale(config, name, 12) for name in every}) == 14
    plain = from_dict(OptimConfig, {"layer_decay": 0.5})
    assert [
        layer_scale(plain, f"encoder.layers.{n}.fc1.weight", 2) for n in (1, 0)
    ] == [0.5, 0.25]
