"""--ema-decay against an average by hand, and --checkpoint-activations against a run without it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.find_checkpoint import saved_checkpoints
from masscli.core.errors import MasscliError
from masscli.models.stack import Layer, Stack
from masscli.training.events import Evaluated
from masscli.training.setup.build import build
from tests.toy import recipe
from tests.training.test_trainer import (
    PAIRS,
    last_checkpoint,
    losses,
    max_difference,
    same_run,
    train,
)

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")

EVERY = ("checkpoint.save_interval_updates=1", "checkpoint.keep_last=20")


def test_the_average_is_that_of_all_updates(toy: Path, tmp_path: Path) -> None:
    """The weights of a plain run after each update, averaged by hand: d w' + (1 - d) w with d = min(0.3, (1 + t) / (10 + t))."""
    initial = build(recipe(toy, tmp_path / "start"))[0].model.state_dict()
    plain = losses(train(recipe(toy, tmp_path / "plain", *EVERY)))
    averaged = train(recipe(toy, tmp_path / "average", *EVERY, "optim.ema_decay=0.3"))
    # What is learned does not depend on the average.
    assert losses(averaged) == plain
    average: dict[str, Tensor] = {
        name: tensor.double().clone() for name, tensor in initial.items()
    }
    plain_runs, average_runs = (
        saved_checkpoints(tmp_path / name) for name in ("plain", "average")
    )
    for step in range(1, 11):
        weights = Checkpoint.open(plain_runs[step]).weights()
        decay = min(0.3, step / (9 + step))
        average = {
            name: decay * average[name] + (1 - decay) * tensor.double()
            for name, tensor in weights.items()
        }
        saved = Checkpoint.open(average_runs[step])
        for name, tensor in saved.weights().items():
            assert torch.allclose(tensor.double(), average[name], atol=1e-6), (
                step,
                name,
            )
        for name, tensor in saved.trained_weights().items():
            assert torch.equal(tensor, weights[name])
    assert max_difference(tmp_path / "plain", tmp_path / "average") > 1e-3
    # Validation measures the average.
    measured = {
        event.step: event.metrics["loss"]
        for event in averaged
        if isinstance(event, Evaluated)
    }
    trainer, _ = build(recipe(toy, tmp_path / "plain", *EVERY))
    trainer.model.load_state_dict(last_checkpoint(tmp_path / "average").weights())
    assert trainer.validator.measure(trainer.model).metrics["loss"] == pytest.approx(
        measured[10], rel=1e-6
    )


def test_a_resumed_average_equals_an_uninterrupted_one(
    toy: Path, tmp_path: Path
) -> None:
    ema = "optim.ema_decay=0.5"
    train(recipe(toy, tmp_path / "whole", ema))
    for stop in (3, 4, 10):
        train(recipe(toy, tmp_path / "parts", ema, f"train.max_update={stop}"))
    assert same_run(tmp_path / "parts", tmp_path / "whole")
    states = [
        last_checkpoint(tmp_path / name).trained_weights()
        for name in ("parts", "whole")
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_weights_needed_only_to_resume_are_removed_with_the_optimizer(
    toy: Path, tmp_path: Path
) -> None:
    train(
        recipe(
            toy,
            tmp_path,
            *EVERY,
            "optim.ema_decay=0.5",
            "checkpoint.keep_optimizer_states=1",
        )
    )
    files = [
        set(Checkpoint.open(path).checksums)
        for path in saved_checkpoints(tmp_path).values()
    ]
    assert all("trained.safetensors" not in names for names in files[:-1])
    assert "trained.safetensors" in files[-1]


@pytest.mark.parametrize("share", ["none", "all", "ffn"])
def test_layers_that_run_twice_have_the_same_gradients(
    share: str, toy: Path, tmp_path: Path
) -> None:
    """Gradients are equal bit for bit, also with dropout: the second pass draws the random numbers of the first."""
    size = (
        "model.encoder_layers=2",
        "model.decoder_layers=2",
        f"model.share_layers={share}",
        "train.max_update=4",
    )
    for name, option in (("plain", "false"), ("again", "true")):
        train(
            recipe(
                toy,
                tmp_path / name,
                *size,
                f"train.checkpoint_activations={option}",
                streams=PAIRS,
            )
        )
    assert same_run(tmp_path / "plain", tmp_path / "again")
    # It changes nothing, so it may change when a run goes on.
    shutil.copytree(tmp_path / "plain", tmp_path / "on", symlinks=True)
    more = ("train.max_update=6", "train.checkpoint_activations=true")
    train(recipe(toy, tmp_path / "on", *size, *more, streams=PAIRS))
    train(recipe(toy, tmp_path / "plain", *size, "train.max_update=6", streams=PAIRS))
    assert same_run(tmp_path / "plain", tmp_path / "on")


def test_options_of_layers_reach_those_of_an_objective(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layers of ELECTRA's generator are also recomputed in the backward pass, and compiled."""
    objective = {"name": "electra", "tokens_per_sample": 29}
    detect = {"en": {"dataset": "en", "objective": objective}}
    size = ("model.decoder_layers=0", "train.max_update=3")
    for name, option in (("plain", "false"), ("again", "true")):
        set_option = f"train.checkpoint_activations={option}"
        train(recipe(toy, tmp_path / name, *size, set_option, streams=detect))
    assert same_run(tmp_path / "plain", tmp_path / "again")
    compiled: list[nn.Module] = []
    # Compiling takes seconds.
    monkeypatch.setattr(Layer, "compile", lambda self, dynamic: compiled.append(self))
    options = ("train.checkpoint_activations=true", "train.compile=true")
    run = recipe(toy, tmp_path / "compiled", *size, *options, streams=detect)
    trainer, _ = build(run)
    modules = [*trainer.model.modules(), *trainer.streams["en"].objective.modules()]
    stacks = [module for module in modules if isinstance(module, Stack)]
    assert len(stacks) == 2
    assert all(stack.checkpoint_activations for stack in stacks)
    assert set(compiled) == {layer for stack in stacks for layer in stack.layers}


def test_a_changed_decay_is_refused_when_continuing(toy: Path, tmp_path: Path) -> None:
    train(recipe(toy, tmp_path, "train.max_update=1"))
    with pytest.raises(MasscliError) as error:
        build(recipe(toy, tmp_path, "optim.ema_decay=0.5"))
    assert "optim.ema_decay is 0.5, was 0.0" in error.value.message
