"""Tests of tasks that read one stack of a model of two: the other stack is left out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from masscli.api.model import load
from masscli.checkpoint.checkpoint import Checkpoint
from tests.commands import predict, refused, succeed
from tests.toy_tasks import REST, TINY, finetune, save

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


@pytest.fixture(scope="module")
def whole(labeled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MASS, pre-trained: an encoder and a decoder."""
    place = tmp_path_factory.mktemp("whole") / "mass"
    command = [
        *(
            f"pretrain {labeled}/data --objective mass --max-update 2 "
            f"--save-dir {place}"
        ).split(),
        *TINY,
    ]
    succeed(
        [*command, *"--norm post --positions learned --embeddings separate".split()]
    )
    return place


@pytest.mark.parametrize(
    "how", [["--decoder-layers", "0"], ["--init-stacks", "encoder"]], ids=" ".join
)
def test_a_task_that_reads_one_stack_takes_that_one(
    how: list[str],
    whole: Path,
    labeled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The encoder alone has the run's weights, and predicts what the whole model predicts."""
    command = [
        *f"--task classify --table one --init-from {whole}".split(),
        *REST,
        "--lr",
        "1e-30",
        "--warmup-init-lr",
        "0",
    ]
    finetune(labeled, tmp_path / "half", *command, *how, updates=1)
    stderr = capsys.readouterr().err
    ours, theirs = Checkpoint.open(tmp_path / "half"), Checkpoint.open(whole).weights()
    assert (ours.recipe.model.encoder_layers, ours.recipe.model.decoder_layers) == (
        1,
        0,
    )
    own = {name for name in theirs if "encoder" in name.split(".")[:2]}
    assert set(ours.weights()) == own and all(
        torch.equal(tensor, theirs[name]) for name, tensor in ours.weights().items()
    )
    [left] = [line for line in stderr.splitlines() if line.startswith("left behind: ")]
    assert sum(map(int, re.findall(r"\((\d+)\)", left))) == len(theirs) - len(own)
    assert "new, drawn at random: heads (2)\n" in stderr

    finetune(labeled, tmp_path / "whole", *command, updates=1)
    one, both = (
        load(tmp_path / name, device="cpu", precision="fp32").task_model()
        for name in ("half", "whole")
    )
    both.objective.load_state_dict(one.objective.state_dict())
    table = one.read(labeled / "valid.tsv", "tsv")
    for a, b in zip(
        one.outputs(table, 600)[0], both.outputs(table, 600)[0], strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert (
        len(
            predict(capsys, tmp_path / "half", "-i", labeled / "valid.tsv").splitlines()
        )
        == 12
    )


def test_missing_stacks_and_needed_stacks_are_named(
    whole: Path, labeled: Path, tmp_path: Path
) -> None:
    command = [
        "finetune",
        labeled / "data",
        "--init-from",
        whole,
        *REST,
        "--max-update",
        "1",
        "--save-dir",
        tmp_path / "run",
        "--task",
    ]
    read = [*command, "classify", "--table", "one"]
    assert (
        refused(*read, "--init-stacks", "decoder", "--decoder-layers", "0")[0]
        == "--init-stacks decoder: the model has no decoder"
    )
    nothing = f"--init-decoder-from {whole}: the model has no decoder"
    assert refused(*read, "--init-decoder-from", whole, "--decoder-layers", "0") == (
        nothing,
        "leave it out",
    )
    write = refused(
        *command, *"summarize --table heads --writer decoder --decoder-layers 0".split()
    )[0]
    assert (
        write
        == f"--decoder-layers 0 differs from the weights in {whole}: their decoder_layers is 1"
    )
    assert refused(*read, "--decoder-layers", "2")[0] == write.replace(
        "layers 0", "layers 2"
    )
    own = [
        *f"--task classify --table one --init-from {whole}".split(),
        *REST,
        "--init-stacks",
        "encoder",
        "--decoder-layers",
        "1",
    ]
    finetune(labeled, tmp_path / "drawn", *own, updates=1)
    assert Checkpoint.open(tmp_path / "drawn").recipe.model.decoder_layers == 1, (
        "one that is asked for is there, drawn at random"
    )


@pytest.mark.parametrize(
    "how",
    [["--decoder-layers", "0"], ["--init-stacks", "encoder", "--writer", "encoder"]],
    ids=" ".join,
)
def test_an_encoder_without_its_decoder_can_learn_to_generate(
    how: list[str], whole: Path, labeled: Path, tmp_path: Path
) -> None:
    short = f"--max-source 60 --max-target 20 --table heads --init-from {whole}".split()
    finetune(
        labeled,
        tmp_path / "run",
        "--task",
        "summarize",
        *short,
        *REST,
        *how,
        updates=1,
    )
    model = Checkpoint.open(tmp_path / "run").recipe.model
    assert (model.encoder_layers, model.decoder_layers) == (1, 0)
    succeed(f"generate {tmp_path}/run --input {labeled}/valid.src --beam 1")


def test_a_run_that_was_not_trained_to_generate_says_so(
    whole: Path, labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = save(tmp_path / "in", ["ba bo"])

    def warned(run_folder: Path, task: str = "classify") -> bool:
        capsys.readouterr()
        succeed(f"generate {run_folder} --input {line} --precision fp32 --beam 1")
        out, err = capsys.readouterr()
        assert out.count("\n") == 1
        return (
            f"warning: {run_folder}: was trained for {task}, not to write text; its decoder is still in its initial state\n"
            in err
        )

    finetune(
        labeled,
        tmp_path / "read",
        "--task",
        "classify",
        "--table",
        "one",
        "--init-from",
        str(whole),
        *REST,
        updates=1,
    )
    finetune(
        labeled,
        tmp_path / "tags",
        "--task",
        "tag",
        "--init-from",
        str(whole),
        *REST,
        updates=1,
    )
    assert warned(tmp_path / "tags", "tag")
    gpt = ["--task", "classify", "--table", "one", *TINY, "--encoder-layers", "0"]
    finetune(labeled, tmp_path / "beside", *gpt, "--lm-weight", "0.5", updates=1)
    finetune(labeled, tmp_path / "alone", *gpt, updates=1)
    assert [
        warned(place)
        for place in (tmp_path / "read", tmp_path / "alone", tmp_path / "beside", whole)
    ] == [True, True, False, False]
