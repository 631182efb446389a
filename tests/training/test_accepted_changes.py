"""--accept-changes: a run that goes on with another rate, dropout or batch size, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from masscli.__main__ import run as masscli
from masscli.core.errors import MasscliError
from masscli.data.batches.sampler import Position
from masscli.training.events import Event
from masscli.training.setup.build import build
from tests.commands import succeed
from tests.toy import recipe
from tests.training.test_trainer import PAIRS, last_checkpoint, same_run, steps, train

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")

CHANGES = (
    "optim.lr=0.003",
    "optim.clip_norm=0.5",
    "optim.lr_scheduler=constant",
    "model.dropout=0.3",
    "train.max_tokens=300",
    "train.update_freq=1",
)


def accepted(data: Path, folder: Path, *changes: str) -> tuple[list[Event], list[str]]:
    trainer, notes = build(
        recipe(data, folder, *changes, streams=PAIRS), accept_changes=True
    )
    return list(trainer.run()), notes


def test_a_changed_run_continues_and_can_be_stopped(toy: Path, tmp_path: Path) -> None:
    for name in ("whole", "parts"):
        train(recipe(toy, tmp_path / name, "train.max_update=4", streams=PAIRS))
    events, notes = accepted(toy, tmp_path / "whole", *CHANGES)
    assert [event.lr for event in steps(events)] == [0.003] * 6
    assert sum(event.targets for event in steps(events)) > 0
    assert "changed: optim.lr is 0.003, was 0.01" in notes
    assert sum(note.startswith("changed: ") for note in notes) == 5
    assert any("the order of this epoch changes" in note for note in notes)
    # The flag is needed once: from then on the changes are the run's own.
    accepted(toy, tmp_path / "parts", *CHANGES, "train.max_update=6")
    train(recipe(toy, tmp_path / "parts", *CHANGES, streams=PAIRS))
    assert same_run(tmp_path / "parts", tmp_path / "whole")
    saved = last_checkpoint(tmp_path / "whole")
    assert (
        saved.recipe.model.dropout,
        saved.recipe.train.max_tokens,
        saved.state.update_freq,
    ) == (
        0.3,
        300,
        1,
    )


def test_the_share_of_the_epoch_is_kept(toy: Path, tmp_path: Path) -> None:
    train(recipe(toy, tmp_path, "train.max_update=4", streams=PAIRS))
    before, _ = build(recipe(toy, tmp_path, streams=PAIRS))
    now, _ = build(
        recipe(toy, tmp_path, "train.max_tokens=450", streams=PAIRS),
        accept_changes=True,
    )
    shares = []
    for trainer in (before, now):
        position = trainer.state.positions["pairs"]
        assert (position.epoch, position.window) == (0, 0)
        shares.append(
            position.batch
            / trainer.streams["pairs"].sampler.batches_in_window(Position())
        )
    assert now.state.positions != before.state.positions
    assert shares[1] == pytest.approx(
        shares[0], abs=0.5 / now.streams["pairs"].sampler.batches_in_window(Position())
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["optim.lr=0.003"], "optim.lr is 0.003, was 0.01"),
        (["model.dropout=0.3"], "model.dropout is 0.3, was 0.1"),
        (["train.batch_size=4"], "train.batch_size is 4, was None"),
    ],
)
def test_a_change_needs_the_flag(
    changes: Sequence[str], named: str, toy: Path, tmp_path: Path
) -> None:
    train(recipe(toy, tmp_path, "train.max_update=1"))
    with pytest.raises(MasscliError) as error:
        build(recipe(toy, tmp_path, *changes))
    assert (
        error.value.message == f"{tmp_path}: holds a run with another recipe ({named})"
    )
    assert error.value.hint.startswith(
        "add --accept-changes to go on with it, or start another run"
    )


def test_other_changes_are_refused_with_the_flag_too(toy: Path, tmp_path: Path) -> None:
    train(recipe(toy, tmp_path, "train.max_update=1"))
    for change in (
        "model.ffn_dim=64",
        "seed=2",
        "optim.optimizer=adam",
        "stream.mass.objective.k=0.3",
    ):
        with pytest.raises(MasscliError) as error:
            build(recipe(toy, tmp_path, change, "optim.lr=0.003"), accept_changes=True)
        assert "accept-changes" not in error.value.hint


def test_the_flag_reaches_the_run(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = (
        "--dim 16 --ffn-dim 32 --heads 2 --encoder-layers 1 --decoder-layers 1".split()
    )
    command = [
        "pretrain",
        str(toy),
        "--objective",
        "mass",
        *size,
        "--save-dir",
        str(tmp_path / "run"),
    ]
    succeed([*command, "--max-update", "2", "--lr", "0.01"])
    assert masscli([*command, "--max-update", "3", "--lr", "0.02"]) == 2
    succeed([*command, "--max-update", "3", "--lr", "0.02", "--accept-changes"])
    assert "changed: optim.lr is 0.02, was 0.01" in capsys.readouterr().err
