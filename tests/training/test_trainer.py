"""The loop: what it promises about stopping and going on, batches, arithmetic, and what it does when something goes wrong."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from masscli.__main__ import run as masscli
from masscli.api.training import TrainingRun
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.config import config, to_dict, to_toml
from masscli.core.errors import MasscliError
from masscli.core.schedule import parse_schedule
from masscli.data.batches.batch import Batch
from masscli.data.batches.loader import PlannedBatch, PreparedBatch
from masscli.data.batches.sampler import Position
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Term
from masscli.objectives.registry import OBJECTIVES
from masscli.objectives.translate.objective import Translate
from masscli.objectives.translate.options import TranslateOptions
from masscli.training import micro_batches, updater
from masscli.training.core_shortage import CoreShortage
from masscli.training.evaluate_outputs import with_less_memory
from masscli.training.events import Evaluated, Event, Finished, Saved, Stepped, Warned
from masscli.training.recipe import Recipe
from masscli.training.setup import build as assembly
from masscli.training.setup.build import build
from masscli.training.trainer import Trainer
from masscli.training.updater import ParameterUpdater
from masscli.training.validation import ValidationResult, Validator
from tests.commands import succeed
from tests.toy import TRAIN, recipe

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")

PAIRS = {"pairs": {"dataset": "en-de", "objective": {"name": "translate"}}}
STILL = ("optim.lr=1e-30", "optim.warmup_init_lr=0")
"""Nothing moves."""
MASS = {"mass": {"dataset": "en", "objective": {"name": "mass"}}}


def train(run: Recipe) -> list[Event]:
    return list(build(run)[0].run())


def steps(events: Sequence[Event]) -> list[Stepped]:
    return [e for e in events if isinstance(e, Stepped)]


def validated_steps(events: Sequence[Event]) -> list[int]:
    return [e.step for e in events if isinstance(e, Evaluated)]


def losses(events: Sequence[Event]) -> dict[int, dict[str, float]]:
    return {e.step: dict(e.losses) for e in steps(events)}


def finished(events: Sequence[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def last_checkpoint(folder: Path) -> Checkpoint:
    return Checkpoint.open(folder / "checkpoints" / "last")


def same_run(a: Path, b: Path) -> bool:
    """Weights, moments and counters are equal, bit for bit."""
    x, y = last_checkpoint(a), last_checkpoint(b)
    tensors = all(
        (x.path / name).read_bytes() == (y.path / name).read_bytes()
        for name in ("model.safetensors", "optimizer.safetensors")
    )
    return tensors and (x.state.step, x.state.targets, x.state.positions) == (
        y.state.step,
        y.state.targets,
        y.state.positions,
    )


def max_difference(a: Path, b: Path) -> float:
    """The largest difference between the weights of two runs."""
    x, y = last_checkpoint(a).weights(), last_checkpoint(b).weights()
    return max(float((x[name] - y[name]).abs().max()) for name in x)


def during_update(
    step: int, act: Callable[[ParameterUpdater], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Do something in the middle of update `step`, once."""
    original = ParameterUpdater.gradient_norm

    def norm(self: ParameterUpdater) -> float:
        if self.state.step + 1 == step:
            monkeypatch.setattr(ParameterUpdater, "gradient_norm", original)
            act(self)
        return original(self)

    monkeypatch.setattr(ParameterUpdater, "gradient_norm", norm)


def test_a_run_says_at_once_that_it_lacks_cores(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next report is about as many updates as if nothing had been said."""
    answers = iter([None, None, "no core (for 6 s)"])
    monkeypatch.setattr(CoreShortage, "warning", lambda shortage: next(answers, None))
    changes = ("train.log_interval=5", "train.max_update=5")
    lacking = train(recipe(toy, tmp_path / "lacking", *changes))
    warned = Warned(3, "no core (for 6 s)")
    assert lacking[:2] == [lacking[0], warned]
    idle = train(recipe(toy, tmp_path / "idle", *changes))
    assert [(e.step, e.targets, e.losses) for e in steps(lacking)] == [
        (e.step, e.targets, e.losses) for e in steps(idle)
    ]


# -- stopping and going on -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(
    toy: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Event]]:
    """Ten updates of two streams, with dropout and validation, in one go."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(recipe(toy, folder))


@pytest.mark.parametrize("stops", [(1,), (4,), (3, 5, 6), (9,)], ids=str)
def test_a_resumed_run_equals_an_uninterrupted_one(
    stops: tuple[int, ...], toy: Path, tmp_path: Path, whole: tuple[Path, list[Event]]
) -> None:
    found: dict[int, dict[str, float]] = {}
    for stop in (*stops, 10):
        found |= losses(train(recipe(toy, tmp_path, f"train.max_update={stop}")))
    assert found == losses(whole[1])
    assert same_run(tmp_path, whole[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_takes_effect_after_the_update(
    number: signal.Signals,
    toy: Path,
    tmp_path: Path,
    whole: tuple[Path, list[Event]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    during_update(6, lambda updater: signal.raise_signal(number), monkeypatch)
    events = train(recipe(toy, tmp_path))
    assert (
        finished(events).step,
        finished(events).reason,
        finished(events).interrupted,
    ) == (
        6,
        f"stopped by {number.name}",
        number,
    )
    assert [e.step for e in events if isinstance(e, Saved)] == [4, 6]
    assert (
        signal.getsignal(signal.SIGTERM),
        signal.getsignal(signal.SIGINT),
    ) == handlers
    train(recipe(toy, tmp_path))
    assert same_run(tmp_path, whole[0])


def test_sigusr1_saves_and_the_run_continues(
    toy: Path,
    tmp_path: Path,
    whole: tuple[Path, list[Event]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = signal.getsignal(signal.SIGUSR1)

    def raise_twice(updater: ParameterUpdater) -> None:
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)

    during_update(6, raise_twice, monkeypatch)
    events = train(recipe(toy, tmp_path))
    assert [e.step for e in events if isinstance(e, Saved)] == [4, 6, 8, 10]
    assert (finished(events).reason, finished(events).interrupted) == ("done", 0)
    assert signal.getsignal(signal.SIGUSR1) == handler
    assert same_run(tmp_path, whole[0])


def test_sigusr1_stops_the_run_if_asked_to(
    toy: Path,
    tmp_path: Path,
    whole: tuple[Path, list[Event]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    during_update(6, lambda updater: signal.raise_signal(signal.SIGUSR1), monkeypatch)
    events = train(recipe(toy, tmp_path, "checkpoint.stop_on_signal=usr1"))
    assert (finished(events).step, finished(events).reason) == (6, "stopped by SIGUSR1")
    assert finished(events).interrupted == signal.SIGUSR1
    # Without the option, which may change, the run goes on.
    train(recipe(toy, tmp_path))
    assert same_run(tmp_path, whole[0])


def in_validation(
    step: int, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Raise a signal in the first validation after update `step`, and return the steps that are reached."""
    original = Validator._losses_by_term
    reached: list[int] = []

    def losses_by_term(self: Validator, model: Transformer, stream: object) -> object:
        trainer = current[0]
        if trainer.state.step == step and step not in reached:
            reached.append(step)
            signal.raise_signal(number)
            reached.append(-step)
        return original(self, model, stream)  # type: ignore[arg-type]

    current: list[Trainer] = []
    run = Trainer.run

    def remember(self: Trainer) -> Iterator[Event]:
        current[:] = [self]
        return run(self)

    monkeypatch.setattr(Trainer, "run", remember)
    monkeypatch.setattr(Validator, "_losses_by_term", losses_by_term)
    return reached


PLATEAU = (
    "optim.lr_scheduler=reduce_lr_on_plateau",
    "optim.lr_patience=0",
    "optim.lr_threshold=0.9",
    "optim.warmup_updates=1",
    "train.max_update=9",
    "optim.ema_decay=0.5",
)
"""Every validation lowers the learning rate, so that a run shows which ones were made, and when."""


@pytest.mark.parametrize("step", [4, 8, 9])
def test_an_interrupted_validation_is_repeated_when_the_run_continues(
    step: int, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validations are due after updates 4 and 8, and at the end."""
    train(recipe(toy, tmp_path / "whole", *PLATEAU))
    with monkeypatch.context() as patch:
        reached = in_validation(step, signal.SIGTERM, patch)
        events = train(recipe(toy, tmp_path / "parts", *PLATEAU))
    assert reached == [step]
    assert finished(events).step == step
    assert finished(events).reason == "stopped by SIGTERM"
    assert isinstance(events[-2], Saved)
    assert events[-2].step == step
    assert step not in validated_steps(events)
    assert last_checkpoint(tmp_path / "parts").metrics == {}
    # The command line asks this before it trains.
    continued = recipe(toy, tmp_path / "parts", *PLATEAU)
    assert not TrainingRun(continued, *build(continued)).is_finished
    rest = train(recipe(toy, tmp_path / "parts", *PLATEAU))
    assert validated_steps(rest) == [due for due in (4, 8, 9) if due >= step]
    assert same_run(tmp_path / "parts", tmp_path / "whole")
    parts = last_checkpoint(tmp_path / "parts")
    whole = last_checkpoint(tmp_path / "whole")
    assert parts.metrics == whole.metrics
    assert replace(parts.state, seconds=0) == replace(whole.state, seconds=0)
    assert steps(rest) or step == 9


@pytest.mark.parametrize("error", [MasscliError("no memory"), ZeroDivisionError()])
def test_a_validation_that_fails_loses_no_update(
    error: Exception, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first validation is due after update 4; it is the first thing that the continued run does."""
    changes = (*PLATEAU, "train.max_update=6")
    train(recipe(toy, tmp_path / "whole", *changes))

    def fail(*arguments: object) -> ValidationResult:
        raise error

    run = recipe(toy, tmp_path / "parts", *changes)
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(Validator, "measure", fail)
            with pytest.raises(type(error)):
                train(run)
        assert last_checkpoint(tmp_path / "parts").state.step == 4
        assert last_checkpoint(tmp_path / "parts").metrics == {}
    rest = train(run)
    assert validated_steps(rest) == [4, 6]
    assert same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_checkpoint_that_cannot_be_written_does_not_hide_why_a_validation_failed(
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: object) -> ValidationResult:
        raise MasscliError("validation: no memory", "buy some")

    def full(*arguments: object, **tensors: object) -> Path:
        raise MasscliError("step-4: cannot be written", "make room")

    monkeypatch.setattr(Validator, "measure", fail)
    monkeypatch.setattr("masscli.checkpoint.saving.save_checkpoint", full)
    (tmp_path / "a.toml").write_text(to_toml(to_dict(recipe(toy, tmp_path / "run"))))
    assert masscli(["finetune", "--config", str(tmp_path / "a.toml")]) == 2
    assert capsys.readouterr().err.splitlines()[-3:] == [
        "error: validation: no memory",
        "error: the updates since the last checkpoint are lost: step-4: cannot be written",
        "hint: buy some",
    ]


@pytest.mark.parametrize("updates", [0, 5])
def test_data_that_cannot_be_read_lose_no_update(
    updates: int, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run reads the micro-batches of so many updates, as if the process that prepares them were killed then."""
    changes = ("train.max_update=7", "train.update_freq=2")
    train(recipe(toy, tmp_path / "whole", *changes))
    load = micro_batches.load

    def load_some(*arguments: Any, **options: Any) -> Iterator[PreparedBatch]:
        yield from islice(load(*arguments, **options), 2 * updates)
        raise RuntimeError("DataLoader worker (pid 1) is killed")

    run = recipe(toy, tmp_path / "parts", *changes)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(micro_batches, "load", load_some)
        train(run)
    assert bool(updates) == (tmp_path / "parts" / "checkpoints" / "last").exists()
    if updates:
        assert last_checkpoint(tmp_path / "parts").state.step == updates
    train(run)
    assert same_run(tmp_path / "parts", tmp_path / "whole")


def test_an_interrupted_last_validation_is_left_out_if_the_run_continues(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        in_validation(9, signal.SIGTERM, patch)
        train(recipe(toy, tmp_path, "train.max_update=9"))
    rest = train(recipe(toy, tmp_path, "train.max_update=10"))
    assert validated_steps(rest) == [10]
    assert last_checkpoint(tmp_path).state.pending_validation == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_in_the_last_update_leaves_the_validation_at_the_end_to_be_made(
    number: signal.Signals,
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = recipe(toy, tmp_path / "parts", "train.max_update=6")
    whole = recipe(toy, tmp_path / "whole", "train.max_update=6")
    train(whole)
    during_update(6, lambda updater: signal.raise_signal(number), monkeypatch)
    events = train(run)
    trainer, notes = build(run)
    if not TrainingRun(run, trainer, notes).is_finished:
        events += list(trainer.run())
    assert [e.step for e in events if isinstance(e, Evaluated)] == [4, 6]
    parts, whole_run = (tmp_path / name for name in ("parts", "whole"))
    assert last_checkpoint(parts).metrics == last_checkpoint(whole_run).metrics


@pytest.mark.parametrize("step", [4, 9])
def test_sigusr1_saves_within_a_validation_that_then_begins_again(
    step: int, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(recipe(toy, tmp_path / "whole", *PLATEAU))
    with monkeypatch.context() as patch:
        reached = in_validation(step, signal.SIGUSR1, patch)
        events = train(recipe(toy, tmp_path / "parts", *PLATEAU))
    assert reached == [step]
    assert (finished(events).reason, finished(events).interrupted) == ("done", 0)
    at_step = [type(e) for e in events if e.step == step and not isinstance(e, Stepped)]
    assert at_step[:3] == [Saved, Evaluated, Saved]
    assert same_run(tmp_path / "parts", tmp_path / "whole")
    assert (
        last_checkpoint(tmp_path / "parts").metrics
        == last_checkpoint(tmp_path / "whole").metrics
    )


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Ctrl-C acts as it does in a terminal; a shell has its background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_signals")
def test_a_second_ctrl_c_acts_at_once(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(updater: ParameterUpdater) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    during_update(6, twice, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(toy, tmp_path))
    assert last_checkpoint(tmp_path).state.step == 4


def test_max_epoch_ends_the_run(toy: Path, tmp_path: Path) -> None:
    """Every row is read three times, whatever the batches."""
    changes = (
        "train.max_update=1000",
        "train.update_freq=1",
        "checkpoint.save_interval_updates=100",
    )
    events = train(recipe(toy, tmp_path, *changes, "train.max_epoch=3", streams=PAIRS))
    assert finished(events).reason == "read pairs 3 times"
    one = recipe(toy, tmp_path / "one", *changes, "train.max_epoch=1", streams=PAIRS)
    assert last_checkpoint(tmp_path).state.targets == 3 * sum(
        e.targets for e in steps(train(one))
    )
    assert [e.epoch for e in steps(events)][-2:] == [2, 3]
    assert (
        finished(
            train(recipe(toy, tmp_path, *changes, "train.max_epoch=3", streams=PAIRS))
        ).step
        == finished(events).step
    )


def test_the_epoch_in_the_log_is_that_of_the_first_stream(
    toy: Path, tmp_path: Path
) -> None:
    """The second stream has one batch in an epoch, and so is in a later one."""
    streams = PAIRS | {"one": {**MASS["mass"], "max_examples": 1}}
    run = recipe(toy, tmp_path, "train.max_update=20", streams=streams)
    trainer, _ = build(run)
    epochs = {e.step: e.epoch for e in trainer.run() if isinstance(e, Stepped)}
    batches = len(trainer.streams["pairs"].sampler.epoch())
    first, second = (trainer.state.positions[name] for name in streams)
    assert second.epoch > first.epoch + 1
    read = (first.epoch * batches + first.batch) // batches
    assert (epochs[20], max(epochs.values())) == (read, read)


@pytest.mark.parametrize("rows", [1, 20, 100])
@pytest.mark.parametrize("in_update", [3, 50])
def test_max_epoch_leaves_out_no_batch_of_the_last_epoch(
    in_update: int, rows: int, toy: Path, tmp_path: Path
) -> None:
    """Every row is read at least twice if the batches of two epochs do not fill the last update, or even a single one.

    The number of updates is announced exactly.
    """
    changes = (
        "train.max_update=1000",
        "train.max_epoch=2",
        "optim.warmup_updates=1000",
        f"train.update_freq={in_update}",
        f"stream.pairs.max_examples={rows}",
    )
    trainer, notes = build(recipe(toy, tmp_path, *changes, streams=PAIRS))
    batches = len(trainer.streams["pairs"].sampler.epoch())
    updates = finished(list(trainer.run())).step
    assert (updates - 1) * in_update < 2 * batches <= updates * in_update
    position = trainer.state.positions["pairs"]
    assert position.epoch * batches + position.batch == updates * in_update
    (said,) = (note for note in notes if "--max-epoch" in note)
    assert f"is about {updates} update" in said


def test_a_warm_up_longer_than_the_epochs_causes_a_warning(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The estimated number of updates is exact to one."""
    args = ["finetune", str(toy), "--task", "translate", "-s", "en", "-t", "de", "--max-epoch", "2", "--max-tokens", "100", "--dim", "16",
            "--ffn-dim", "32", "--heads", "2", "--encoder-layers", "1", "--decoder-layers", "1", "--update-freq", "2"]  # fmt: skip
    for name, more, told in (
        ("long", [], True),
        ("short", ["--warmup-updates", "5"], False),
        ("none", ["--warmup-updates", "0"], False),
    ):
        capsys.readouterr()
        succeed([*args, *more, "--save-dir", str(tmp_path / name)])
        messages = [
            line
            for line in capsys.readouterr().err.splitlines()
            if "the warm-up takes" in line
        ]
        assert bool(messages) is told
        made = last_checkpoint(tmp_path / name).state.step
        assert not messages or any(
            f"warning: --max-epoch 2 is about {n} updates, the warm-up takes 4000;"
            in messages[0]
            for n in (made, made + 1)
        )


def test_max_examples_uses_only_the_first_rows(toy: Path, tmp_path: Path) -> None:
    changes = (
        "train.max_update=1000",
        "train.max_epoch=1",
        "train.update_freq=1",
        "stream.pairs.max_examples=20",
    )
    trainer, _ = build(recipe(toy, tmp_path, *changes, streams=PAIRS))
    assert trainer.streams["pairs"].sampler.num_examples == 20
    assert (
        len(trainer.validator.streams[0].batch_builder.dataset) == 24
    )  # validation is whole
    seen: list[int] = []
    sampler = trainer.streams["pairs"].sampler
    position = Position()
    while position.epoch == 0:
        rows, position = sampler.at(position)
        seen += rows.tolist() if position.epoch == 0 else []
    assert sorted(seen) == list(range(20))
    assert finished(list(trainer.run())).reason == "read pairs 1 time"


def test_patience_counts_validations_and_survives_a_restart(
    toy: Path, tmp_path: Path
) -> None:
    """The learning rate is almost 0, so no validation is better than the first."""
    changes = (
        *STILL,
        "checkpoint.patience=2",
        "train.max_update=50",
        "valid.validate_interval_updates=2",
    )
    events = train(recipe(toy, tmp_path, *changes))
    assert (finished(events).step, finished(events).reason) == (
        6,
        "no better loss in 2 validations",
    )
    again = train(recipe(toy, tmp_path, *changes))
    assert (finished(again).step, len(again)) == (6, 1)


def test_patience_does_not_count_the_extra_validations_of_a_run_in_parts(
    toy: Path, tmp_path: Path
) -> None:
    """Validations are due after updates 4, 8 and 12, and none is better than the first: the run ends after 12 in parts, too."""
    changes = (
        *STILL,
        "checkpoint.patience=2",
        "valid.validate_interval_updates=4",
    )
    for last_update, stops_at in ((5, 5), (6, 6), (7, 7), (50, 12)):
        events = train(
            recipe(toy, tmp_path, *changes, f"train.max_update={last_update}")
        )
        assert finished(events).step == stops_at
    assert finished(events).reason == "no better loss in 2 validations"


# -- the gradient --------------------------------------------------------------------------------------------------------------------------

EXACT = ("model.dropout=0", "optim.clip_norm=0", "optim.adam_eps=0.1")
"""No chance, and steps in proportion to gradients: Adam would make much of a rounding error where a gradient is 0."""


@pytest.mark.parametrize(
    ("objective", "changes"),
    [({"name": "translate"}, []), ({"name": "mlm"}, []),
     ({"name": "bert", "tokens_per_sample": 24}, ["model.decoder_layers=0", "model.segments=2"])],
    ids=["translate", "mlm", "bert"],
)  # fmt: skip
def test_micro_batches_equal_one_batch(
    objective: dict[str, object],
    changes: list[str],
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three unequal micro-batches give the same update as one batch with their rows: a mean over all targets is
    not a mean of means."""
    streams = {
        "only": {
            "dataset": "en-de" if objective["name"] == "translate" else "en",
            "objective": objective,
        }
    }

    def jobs(together: bool) -> Iterator[PlannedBatch]:
        rows = np.arange(TRAIN)
        for update in range(8):
            parts = np.split(rows[24 * update : 24 * update + 24], [3, 14])
            for micro, part in enumerate(
                [np.concatenate(parts)] if together else parts
            ):
                yield PlannedBatch(update, micro, "only", 0, part, Position())

    for name, together in (("one", True), ("three", False)):
        monkeypatch.setattr(
            micro_batches, "plan", lambda *args, together=together: jobs(together)
        )
        train(
            recipe(
                toy,
                tmp_path / name,
                "train.max_update=8",
                *EXACT,
                *changes,
                streams=streams,
            )
        )
    assert max_difference(tmp_path / "one", tmp_path / "three") < 2e-5


def test_gradients_are_clipped_by_their_norm(toy: Path, tmp_path: Path) -> None:
    """With a large epsilon a step is in proportion to the gradient, and shrinks as the gradient does."""

    def first_step(clip_norm: float) -> tuple[float, Tensor]:
        changes = (
            f"optim.clip_norm={clip_norm}",
            "optim.adam_eps=100",
            "optim.lr=10",
            "optim.warmup_updates=0",
        )
        run = recipe(
            toy,
            tmp_path / str(clip_norm),
            "train.max_update=1",
            "optim.weight_decay=0",
            *changes,
        )
        trainer = build(run)[0]
        before = parameters_to_vector(trainer.model.parameters()).detach().clone()
        (stepped,) = steps(list(trainer.run()))
        return stepped.grad_norm, parameters_to_vector(
            trainer.model.parameters()
        ).detach() - before

    norm, free = first_step(0.0)
    for clip_norm, expected in ((norm / 4, free / 4), (norm * 4, free)):
        reported, moved = first_step(clip_norm)
        assert reported == pytest.approx(norm)
        assert float((moved - expected).norm()) < 0.02 * float(expected.norm())


def no_memory_for(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Translation runs out of memory on more rows than that, half way through; in validation, too."""
    original = Translate.forward

    def forward(self: Translate, model: Transformer, batch: Batch) -> dict[str, Term]:
        found = original(self, model, batch)
        if len(batch.example_numbers) > rows:
            if torch.is_grad_enabled():
                next(iter(found.values())).loss.backward()
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
            )
        return found

    monkeypatch.setattr(Translate, "forward", forward)


def test_out_of_memory_is_retried_in_smaller_parts(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(recipe(toy, tmp_path / "plain", *EXACT))
    no_memory_for(4, monkeypatch)
    scarce = train(recipe(toy, tmp_path / "scarce", *EXACT))
    assert max_difference(tmp_path / "plain", tmp_path / "scarce") < 2e-5
    assert [e.targets for e in steps(scarce)] == [e.targets for e in steps(plain)]
    assert last_checkpoint(tmp_path / "plain").state.oom_retries == 0
    with_pairs = [e.step for e in steps(plain) if "pairs.translate" in e.losses]
    assert (
        last_checkpoint(tmp_path / "scarce").state.oom_retries
        == len(with_pairs)
        == steps(scarce)[-1].oom_retries
    )
    measured, expected = (
        [e.metrics for e in run if isinstance(e, Evaluated)] for run in (scarce, plain)
    )
    assert (
        measured == [pytest.approx(metrics, rel=1e-5) for metrics in expected]
        and expected
    )


def test_no_memory_for_a_single_example_is_reported(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_memory_for(0, monkeypatch)
    with pytest.raises(MasscliError) as error:
        train(recipe(toy, tmp_path, streams=PAIRS))
    assert error.value.message == "update 1: not enough memory for a single example"


def test_validation_out_of_memory_is_retried_in_smaller_parts() -> None:
    def work(most: int) -> Callable[[np.ndarray], list[int]]:
        def rows(given: np.ndarray) -> list[int]:
            if len(given) > most:
                raise torch.OutOfMemoryError
            return given.tolist()  # type: ignore[no-any-return]

        return rows

    pieces = with_less_memory(np.arange(7), work(2))
    assert [row for piece in pieces for row in piece] == list(range(7)) and {
        len(piece) for piece in pieces
    } == {1, 2}
    with pytest.raises(MasscliError) as error:
        with_less_memory(np.arange(3), work(0))
    assert error.value.message == "validation: not enough memory for a single example"
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        with_less_memory(
            np.arange(3), lambda rows: (_ for _ in ()).throw(RuntimeError("a bug"))
        )


def test_other_errors_are_not_mistaken_for_out_of_memory(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Translate, model: Transformer, batch: Batch) -> dict[str, Term]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Translate, "forward", broken)
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        train(recipe(toy, tmp_path, streams=PAIRS))


def test_weights_of_streams_scale_their_gradients(toy: Path, tmp_path: Path) -> None:
    """The learning rate is almost 0, so the norm of the gradient follows the schedule of the weight."""
    still = (*STILL, "train.max_update=6", *EXACT)
    plain = steps(train(recipe(toy, tmp_path / "plain", *still, streams=MASS)))
    risen = steps(
        train(
            recipe(
                toy,
                tmp_path / "risen",
                *still,
                "stream.mass.loss_weight=0:1,4:3,6:0",
                streams=MASS,
            )
        )
    )
    ratios = [b.grad_norm / a.grad_norm for a, b in zip(plain, risen, strict=True)]
    assert ratios == pytest.approx([1, 1.5, 2, 2.5, 3, 1.5], rel=1e-4)
    assert [e.losses for e in plain] == [
        e.losses for e in risen
    ]  # what is reported is not weighted
    again = [steps(train(recipe(toy, tmp_path / f"{name}-again", *still, "train.batch_reuse=2", f"stream.mass.loss_weight={weight}", streams=MASS)))
             for name, weight in (("plain", "1"), ("risen", "0:1,4:3,6:0"))]  # fmt: skip
    ratios = [b.grad_norm / a.grad_norm for a, b in zip(*again, strict=True)]
    assert ratios == pytest.approx(
        [1, 1, 2, 2, 3, 3], rel=1e-4
    )  # both updates of a list weigh what its first does


def test_schedules_are_straight_lines_between_their_points() -> None:
    schedule = parse_schedule("0:1,100:0.1,300:0")
    assert [
        schedule.value_at(n) for n in (0, 50, 100, 200, 300, 1000)
    ] == pytest.approx([1, 0.55, 0.1, 0.05, 0, 0])
    assert parse_schedule("0.5").value_at(7) == 0.5


def test_an_update_without_any_target_changes_nothing(
    toy: Path, tmp_path: Path
) -> None:
    """Windows are too short to mask 15% of their tokens."""
    streams = {
        "mass": {
            "dataset": "en",
            "objective": {
                "name": "mass",
                "preset": "summarization",
                "window": 9,
                "block": 6,
            },
        }
    }
    trainer, _ = build(recipe(toy, tmp_path, "train.max_update=2", streams=streams))
    before, events = {n: p.clone() for n, p in trainer.model.named_parameters()}, []
    with pytest.raises(MasscliError) as error:
        for event in trainer.run():
            events.append(event)
    assert [e.step for e in steps(events)] == [1, 2]
    assert trainer.state.targets == 0
    assert all(torch.equal(p, before[n]) for n, p in trainer.model.named_parameters())
    assert (
        error.value.message
        == "validation: none of the 23 examples of mass has a target"
    )
    assert (
        error.value.hint
        == "preprocess more text to validate on, or have more of it predicted (--mask-prob)"
    )


# -- when something goes wrong -------------------------------------------------------------------------------------------------------------


def test_the_examples_of_a_nan_loss_are_named(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those of the micro-batch with the bad loss, although the update has another one."""
    original = Translate.forward
    spoilt: list[list[int]] = []

    def forward(self: Translate, model: Transformer, batch: Batch) -> dict[str, Term]:
        terms = original(self, model, batch)
        if not spoilt:
            spoilt.append(batch.example_numbers.tolist())
            ((name, term),) = terms.items()
            return {name: Term(term.loss * math.nan, term.nll * math.nan)}
        return terms

    monkeypatch.setattr(Translate, "forward", forward)
    with pytest.raises(MasscliError) as error:
        train(recipe(toy, tmp_path, "train.max_tokens=60", streams=PAIRS))
    numbers = ", ".join(map(str, spoilt[0]))
    assert len(spoilt[0]) <= 8
    assert error.value.message.endswith(f"; examples: pairs {numbers} of epoch 0)")


def test_a_nan_gradient_stops_the_run(
    toy: Path,
    tmp_path: Path,
    whole: tuple[Path, list[Event]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spoil(updater: ParameterUpdater) -> None:
        next(
            p
            for p, name in updater.parameter_names.items()
            if name == "decoder.layers.0.fc1.weight"
        ).grad[0, 0] = math.nan  # type: ignore[index]

    during_update(7, spoil, monkeypatch)
    found = [
        f"{k} {v:.3g}"
        for e in steps(whole[1])
        if e.step == 7
        for k, v in e.losses.items()
    ]
    with pytest.raises(MasscliError) as error:
        train(recipe(toy, tmp_path))
    assert error.value.message.startswith(
        f"update 7: the gradient is nan (losses: {', '.join(found)}; first bad tensor: decoder.layers.0.fc1.weight; "
        "examples: "
    )
    checkpoints = tmp_path / "checkpoints"
    assert (
        error.value.hint
        == f"lower --lr or set --clip-norm; the run continues from {checkpoints / 'last'}; "
        "changed settings need --accept-changes"
    )
    assert last_checkpoint(tmp_path).state.step == 4
    train(recipe(toy, tmp_path))
    assert same_run(tmp_path, whole[0])


def test_nan_weights_are_never_saved(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The validation before a save detects them at the latest."""

    def spoil(self: ParameterUpdater, norm: float) -> None:
        with torch.no_grad():
            self.model.token_embeddings["shared"].fill_(math.inf)

    monkeypatch.setattr(ParameterUpdater, "_clip_and_step", spoil)
    with pytest.raises(
        MasscliError,
        match=r"^update 1: the model's losses on the validation set are not numbers \(pairs.loss nan",
    ):
        train(recipe(toy, tmp_path, "checkpoint.save_interval_updates=1"))
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_run_that_diverges_is_stopped(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updater, "DIVERGENCE_PATIENCE", 3)
    # Twice the first loss, or twice that of guessing, 2 ln 96 = 9.1, where it is more.
    with pytest.raises(
        MasscliError,
        match=r"^update \d: the loss has been above (9|1\d)\.\d for 3 updates; the run diverges$",
    ):
        train(
            recipe(
                toy, tmp_path, "optim.lr=30", "optim.warmup_updates=0", streams=PAIRS
            )
        )


def test_divergence_is_judged_by_the_losses_of_all_processes(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of four processes may have all targets of an update, and another none; both compare the same mean."""
    monkeypatch.setattr(updater, "DIVERGENCE_PATIENCE", 1)
    trainer, _ = build(recipe(toy, tmp_path, streams=PAIRS))
    trainer.updater._first_loss = 4.0
    targets = torch.tensor([10])

    def check(mine: float, of_all: float) -> None:
        """Judge in a process with the sum `mine`, while those of all processes add up to `of_all`."""
        monkeypatch.setattr(
            "masscli.core.distributed.all_reduce_sum",
            lambda tensor: tensor * 0 + of_all,
        )
        trainer.updater._check_divergence(torch.tensor([mine]), targets)

    monkeypatch.setattr("masscli.core.distributed.world_size", 4)
    check(50.0, 50.0)
    check(0.0, 50.0)
    for mine in (0.0, 90.0):
        with pytest.raises(MasscliError, match=r"above 8\.0 for \d updates"):
            check(mine, 90.0)


# -- fp16 and bf16 -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "within"), [("fp16", 0.01), ("bf16", 0.05)])
def test_low_precision_gives_nearly_the_same_losses(
    precision: str, within: float, toy: Path, tmp_path: Path
) -> None:
    exact = steps(train(recipe(toy, tmp_path / "fp32", streams=PAIRS)))
    other = steps(
        train(
            recipe(
                toy, tmp_path / precision, f"train.precision={precision}", streams=PAIRS
            )
        )
    )
    for a, b in zip(exact, other, strict=True):
        assert b.losses["pairs.translate"] == pytest.approx(
            a.losses["pairs.translate"], rel=within
        )
        assert b.grad_norm == pytest.approx(a.grad_norm, rel=10 * within)
    assert other[0].loss_scale == (2.0**15 if precision == "fp16" else 1.0)
    assert all(
        t.dtype == torch.float32
        for t in last_checkpoint(tmp_path / precision).weights().values()
    )


def test_a_continued_run_keeps_its_precision(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On CPUs `auto` depends on a measurement, whose result may differ the next time."""
    for fast in (True, False):
        monkeypatch.setattr(assembly, "bf16_is_faster", lambda fast=fast: fast)
        trainer, _ = build(
            recipe(
                toy,
                tmp_path,
                "train.precision=auto",
                f"train.max_update={2 if fast else 4}",
                streams=PAIRS,
            )
        )
        assert trainer.model.compute_dtype == torch.bfloat16
        list(trainer.run())
    assert (
        build(recipe(toy, tmp_path / "other", "train.precision=auto", streams=PAIRS))[
            0
        ].model.compute_dtype
        == torch.float32
    )


def test_a_warm_up_derived_from_a_shorter_run_is_kept_and_reported(
    toy: Path, tmp_path: Path
) -> None:
    short, long = (
        ("optim.warmup_updates=2", f"train.max_update={final}") for final in (20, 40)
    )
    list(build(recipe(toy, tmp_path, *short, streams=PAIRS))[0].run())
    notes = build(recipe(toy, tmp_path, *long, streams=PAIRS))[1]
    assert (
        "the warm-up stays at 2 updates, as of the --max-update that the run began with; a new --save-dir would take 4"
        in notes
    )
    assert not any(
        "warm-up" in note
        for note in build(recipe(toy, tmp_path, *short, streams=PAIRS))[1]
    )


def test_overflow_skips_the_update_and_halves_the_scale(
    toy: Path, tmp_path: Path
) -> None:
    trainer, _ = build(recipe(toy, tmp_path, "train.precision=fp16", streams=PAIRS))
    trainer.parts.loss_scale.value = 2.0**28
    before = [p.detach().clone() for p in trainer.parts.parameter_names]
    events = []
    for event in trainer.run():
        events.append(event)
        if isinstance(event, Stepped) and event.overflows == event.step:
            assert all(
                torch.equal(p, b)
                for p, b in zip(trainer.parts.parameter_names, before, strict=True)
            )
            assert not event.losses and event.loss_scale == 2.0 ** (28 - event.step)
    skipped = steps(events)[-1].overflows
    assert 0 < skipped < 10
    state = last_checkpoint(tmp_path).state
    assert (state.overflows, state.loss_scale, state.updates_since_overflow) == (
        skipped,
        2.0 ** (28 - skipped),
        10 - skipped,
    )
    continued, _ = build(recipe(toy, tmp_path, "train.precision=fp16", streams=PAIRS))
    assert continued.parts.loss_scale.value == state.loss_scale


def test_endless_overflow_stops_the_run(toy: Path, tmp_path: Path) -> None:
    trainer, _ = build(
        recipe(
            toy,
            tmp_path,
            "train.precision=fp16",
            "train.min_loss_scale=1e10",
            streams=PAIRS,
        )
    )
    trainer.parts.loss_scale.value = 2.0**34
    with pytest.raises(MasscliError) as error:
        list(trainer.run())
    assert (
        error.value.message
        == "update 1: the loss scale fell below 10000000000.0: gradients overflow fp16"
    )


# -- what is measured ----------------------------------------------------------------------------------------------------------------------


def test_the_best_checkpoint_is_that_of_the_chosen_metric(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lower loss and a higher BLEU is better, and of two equal values the earlier checkpoint is kept."""
    for metric, best in (
        ("loss", 4),
        ("ppl", 4),
        ("pairs.loss", 4),
        ("bleu", 6),
        ("bleu.en-de", 6),
    ):
        scores = iter([5.0, 3.0, 9.0, 3.0, 9.0])

        def measure(
            self: Validator, model: Transformer, scores: Iterator[float] = scores
        ) -> ValidationResult:
            return ValidationResult(dict.fromkeys(self.names, next(scores)))

        monkeypatch.setattr(Validator, "measure", measure)
        folder = tmp_path / metric
        changes = (
            f"checkpoint.best_metric={metric}",
            "checkpoint.save_interval_updates=2",
            "valid.eval_bleu=true",
        )
        events = train(recipe(toy, folder, *changes, streams=PAIRS))
        assert (folder / "checkpoints/best").resolve().name == f"step-{best:07d}"
        assert [e.step for e in events if isinstance(e, Saved) and e.best][-1] == best
        assert Checkpoint.open(folder).state.step == best


def test_a_masked_language_model_of_pairs_is_not_asked_to_translate(
    toy: Path, tmp_path: Path
) -> None:
    streams = {"only": {"dataset": "en-de", "objective": {"name": "tlm"}}}
    changes = ("model.decoder_layers=0", "valid.eval_bleu=true")
    trainer, notes = build(recipe(toy, tmp_path, *changes, streams=streams))
    assert "no BLEU: no stream of the run learns to translate" in notes
    assert not trainer.validator.generation_tasks


def test_an_unknown_metric_is_refused_before_training(
    toy: Path, tmp_path: Path
) -> None:
    with pytest.raises(MasscliError) as error:
        build(recipe(toy, tmp_path, "checkpoint.best_metric=blue"))
    assert error.value.message == "--best-metric blue: is not measured"
    assert error.value.hint == "choose one of loss, ppl, pairs.loss, mass.loss"


def test_validation_does_not_depend_on_when_it_is_made(
    toy: Path, tmp_path: Path
) -> None:
    """Same noise, no dropout, and the mean over targets, not over batches."""
    trainer, _ = build(recipe(toy, tmp_path, "model.dropout=0.5"))
    metrics = trainer.validator.measure(trainer.model.train()).metrics
    assert trainer.validator.measure(trainer.model).metrics == metrics
    assert trainer.model.training
    stream = trainer.validator.streams[0]
    batch = stream.batch_builder(np.arange(24), 0)
    with torch.no_grad():
        term = stream.objective(trainer.model.eval(), batch)["translate"]
    assert metrics["pairs.loss"] == pytest.approx(
        float(term.nll) / batch.counts["translate"], rel=1e-5
    )
    assert metrics["loss"] == pytest.approx(
        (metrics["pairs.loss"] + metrics["mass.loss"]) / 2
    )
    assert metrics["ppl"] == pytest.approx(math.exp(metrics["loss"]))


def test_translation_is_validated_with_bleu(toy: Path, tmp_path: Path) -> None:
    events = train(
        recipe(
            toy,
            tmp_path,
            "train.max_update=1",
            "valid.eval_bleu=true",
            "valid.max_valid_rows=5",
            "valid.eval_beam=2",
        )
    )
    [measured] = [e for e in events if isinstance(e, Evaluated)]
    assert set(measured.metrics) == {
        "loss",
        "ppl",
        "pairs.loss",
        "mass.loss",
        "bleu",
        "bleu.en-de",
    }
    assert measured.signatures["bleu.en-de"].startswith("nrefs:1|")


# -- what is learned -----------------------------------------------------------------------------------------------------------------------

STRONGER = ("model.dim=32", "model.ffn_dim=64", "train.max_tokens=600", "train.update_freq=1", "model.dropout=0", "optim.lr=0.02",
            "optim.warmup_updates=20", "train.max_update=100", "checkpoint.save_interval_updates=100")  # fmt: skip


def test_a_word_for_word_translation_is_learned(toy: Path, tmp_path: Path) -> None:
    events = train(
        recipe(
            toy,
            tmp_path,
            *STRONGER,
            "valid.eval_bleu=true",
            "valid.eval_beam=1",
            streams=PAIRS,
        )
    )
    [measured] = [e for e in events if isinstance(e, Evaluated)]
    assert measured.metrics["loss"] < 0.5
    assert measured.metrics["bleu"] > 80


def test_mass_learns_dependencies_between_words(toy: Path, tmp_path: Path) -> None:
    """Without its sentence, a word has a loss of ln 24 = 3.18 nats; with it, nearly 0."""
    events = train(recipe(toy, tmp_path, *STRONGER, streams=MASS))
    [measured] = [e for e in events if isinstance(e, Evaluated)]
    assert measured.metrics["loss"] < 1.0


@pytest.mark.parametrize("languages", ["embedding", "tag", "none"])
def test_every_target_language_learns_an_output_of_its_own(
    languages: str, toy: Path, tmp_path: Path
) -> None:
    """Whatever marks the language, the output projection is that of the target language."""
    streams = {"mass": {"dataset": "de", "objective": {"name": "mass"}}}
    train(
        recipe(
            toy,
            tmp_path,
            "train.max_update=2",
            f"model.languages={languages}",
            "model.cross_output=language",
            streams=streams,
        )
    )
    moved = {
        name.split("/")[0]
        for name, tensor in last_checkpoint(tmp_path).optimizer_state().items()
        if "cross_attention.out" in name and tensor.any()
    }
    assert moved == {
        f"decoder.layers.0.cross_attention.out.language_de.{kind}"
        for kind in ("weight", "bias")
    }


def test_a_stream_may_have_any_name(toy: Path, tmp_path: Path) -> None:
    """`train` is a method of every module, a dot separates names of parameters, and `encoder` begins some of them."""
    streams = dict.fromkeys(("train", "a.b", "encoder"), PAIRS["pairs"])
    for stop in (2, 4):
        assert (
            finished(
                train(
                    recipe(toy, tmp_path, f"train.max_update={stop}", streams=streams)
                )
            ).step
            == stop
        )


class Scaled(Translate):
    """Translation with a parameter of its own."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        return {
            name: Term((self.factor * term.loss).sum(), term.nll)
            for name, term in super().forward(model, batch).items()
        }


@config
class ScaledOptions(TranslateOptions):
    """The options of `Scaled`, as a plug-in declares them."""

    implementation: ClassVar[str] = f"{__name__}:Scaled"


def test_parameters_of_an_objective_are_learned_saved_and_restored(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{__name__}:ScaledOptions"
    OBJECTIVES.allow(name)
    streams = {
        "a.b": {"dataset": "en-de", "objective": {"name": name}},
        # Its name is the beginning of the other one.
        "a": {
            "dataset": "de-en",
            "objective": {"name": name},
            "sampling_weight": 0.1,
        },
    }

    def factor(folder: Path) -> Tensor:
        return last_checkpoint(folder).objective_state()["a.b.factor"]

    train(recipe(toy, tmp_path / "whole", "train.max_update=6", streams=streams))
    train(recipe(toy, tmp_path / "halves", "train.max_update=3", streams=streams))
    assert not torch.equal(factor(tmp_path / "halves"), torch.ones(1))
    train(recipe(toy, tmp_path / "halves", "train.max_update=6", streams=streams))
    assert torch.equal(factor(tmp_path / "halves"), factor(tmp_path / "whole"))
    assert same_run(tmp_path / "halves", tmp_path / "whole")
