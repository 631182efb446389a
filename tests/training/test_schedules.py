"""Schedules that depend on more than the number of the update: how runs with them go on, and end."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from masscli.__main__ import run as masscli
from masscli.core.config import ConfigError
from masscli.core.errors import MasscliError
from masscli.training.config import OptimConfig
from masscli.training.recipe import Recipe
from masscli.training.setup.build import build
from masscli.training.setup.goals import check_end
from tests.toy import recipe
from tests.training.test_trainer import STILL, finished, same_run, steps, train

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")

WSD = (
    "optim.lr_scheduler=wsd",
    "optim.warmup_updates=2",
    "checkpoint.save_interval_updates=2",
)


def rates(changes: Sequence[str], data: Path, folder: Path) -> list[float]:
    """The learning rate of each update of a run."""
    return [event.lr for event in steps(train(recipe(data, folder, *changes)))]


def test_a_decay_branches_off_the_stable_part(toy: Path, tmp_path: Path) -> None:
    """A long run is copied at update 6 and ended at 8: the same as a run that was to end there from the start."""
    long = ("train.max_update=20", "optim.decay_updates=4")
    short = ("train.max_update=8", "optim.decay_updates=2")
    assert rates([*WSD, *short], toy, tmp_path / "short")[-3:] == pytest.approx(
        [0.01, 0.01, 0.005]
    )
    train(recipe(toy, tmp_path / "long", *WSD, *long, "checkpoint.keep_last=20"))
    (tmp_path / "branch" / "checkpoints").mkdir(parents=True)
    stable = tmp_path / "long" / "checkpoints" / "step-0000006"
    shutil.copytree(stable, tmp_path / "branch" / "checkpoints" / stable.name)
    trainer, notes = build(recipe(toy, tmp_path / "branch", *WSD, *short))
    assert notes[0].endswith("from update 6") and not any(
        "learning rate" in note for note in notes
    )
    list(trainer.run())
    assert same_run(tmp_path / "branch", tmp_path / "short")


def test_a_learning_rate_that_rises_again_causes_a_warning(
    toy: Path, tmp_path: Path
) -> None:
    train(recipe(toy, tmp_path, *WSD, "train.max_update=4", "optim.decay_updates=2"))
    _, notes = build(
        recipe(toy, tmp_path, *WSD, "train.max_update=8", "optim.decay_updates=2")
    )
    assert (
        "the learning rate continues with 1.00e-02; by the options so far it would be 0.00e+00"
        in notes
    )


def test_the_rate_falls_on_a_plateau_and_stays_low(toy: Path, tmp_path: Path) -> None:
    """The learning rate is almost 0, so only the first validation is a new best, and each later one halves the
    rate."""
    plateau = (
        *STILL,
        "optim.lr_scheduler=reduce_lr_on_plateau",
        "optim.warmup_updates=0",
        "optim.lr_shrink=0.5",
        "valid.validate_interval_updates=2",
        "train.max_update=8",
    )
    relative = [rate / 1e-30 for rate in rates(plateau, toy, tmp_path / "whole")]
    assert relative == pytest.approx([1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25])
    for stop in (3, 4, 6, 8):
        train(
            recipe(
                toy,
                tmp_path / "parts",
                *plateau,
                f"train.max_update={stop}",
                "optim.lr=1e-30",
            )
        )
    stopped = recipe(toy, tmp_path / "stopped", *plateau, "train.stop_min_lr=3e-31")
    assert (finished(train(stopped)).step, finished(train(stopped)).reason) == (
        6,
        "the learning rate has fallen to 2.5e-31",
    )


def test_a_resumed_plateau_schedule_equals_an_uninterrupted_one(
    toy: Path, tmp_path: Path
) -> None:
    """A threshold of one half: hardly any validation counts as better, and the rate falls while the model learns."""
    plateau = (
        "optim.lr_scheduler=reduce_lr_on_plateau",
        "optim.lr_threshold=0.5",
        "optim.lr_patience=1",
        "valid.validate_interval_updates=1",
    )
    whole = rates(plateau, toy, tmp_path / "whole")
    assert len(set(whole[4:])) > 2
    parts: list[float] = []
    for stop in (5, 6, 10):
        parts += rates([*plateau, f"train.max_update={stop}"], toy, tmp_path / "parts")
    assert parts == whole
    assert same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_threshold_that_no_validation_can_reach_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        OptimConfig(lr_threshold=1.0)
    assert error.value.message == "lr_threshold: must lie in [0, 1), got 1.0"


def test_options_that_a_schedule_needs_are_named(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"pretrain {toy} --objective mass --save-dir {tmp_path}/run".split()
    for options, message in (
        (
            ["--max-epoch", "2", "--lr-scheduler", "wsd"],
            "--lr-scheduler wsd needs to know the last update",
        ),
        (
            ["--max-update", "5", "--lr-scheduler", "wsd", "--decay-updates", "6"],
            "--decay-updates 6 is more than --max-update 5",
        ),
        (
            ["--lr", "0.01", "--lr-scheduler", "linear", "--end-lr", "0.1"],
            "--end-lr 0.1 is above the peak --lr 0.01",
        ),
        (
            ["--lr", "1e-8"],
            "--warmup-init-lr 1e-07 is above the peak --lr 1e-08",
        ),
        (
            ["--lr", "0.01", "--stop-min-lr", "0.01"],
            "--stop-min-lr 0.01 is not below the peak --lr 0.01, where the run would end",
        ),
        (
            ["--max-update", "5", "--validate-after-updates", "6"],
            "--validate-after-updates 6 is above --max-update 5, so that nothing would be validated",
        ),
    ):
        assert masscli([*command, *options]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
    with pytest.raises(MasscliError) as error:
        plateau = "optim.lr_scheduler=reduce_lr_on_plateau"
        build(recipe(toy, tmp_path, plateau, "valid.valid_subset=test"))
    assert "has no test split" in error.value.message


@pytest.mark.parametrize(
    ("warmup", "is_too_long"), [(4, False), (5, True), (4000, True)]
)
def test_a_warm_up_that_fills_the_run_causes_a_warning(
    warmup: int, is_too_long: bool, toy: Path, tmp_path: Path
) -> None:
    """After 5 of 5 updates the learning rate has reached four fifths of --lr."""
    changes = (
        f"optim.warmup_updates={warmup}",
        "optim.lr=0.01",
        "train.max_update=5",
    )
    _, notes = build(recipe(toy, tmp_path, *changes))
    message = f"warning: --warmup-updates {warmup} is not below --max-update 5: the learning rate stays below --lr 0.01"
    assert (message in notes) == is_too_long


@pytest.mark.parametrize(
    ("schedule", "warmup", "reached"),
    [
        # The decay takes the last 20 of 100 updates.
        ("wsd", 80, None),
        ("wsd", 90, "5.00e-03"),
        # 1 - W / T of --lr is left of a decay that counts from the first update, of cosine's the same at W = T / 2.
        ("poly_tf", 10, None),
        ("poly_tf", 75, "2.50e-03"),
        ("poly_mult", 75, "2.50e-03"),
        ("cosine", 50, None),
        ("cosine", 75, "1.46e-03"),
        # These rise to --lr however long the warm-up is.
        ("linear", 99, None),
        ("inverse_sqrt", 99, None),
    ],
)
def test_a_warm_up_that_reaches_into_the_decay_causes_a_warning(
    schedule: str, warmup: int, reached: str | None, toy: Path, tmp_path: Path
) -> None:
    changes = (
        f"optim.lr_scheduler={schedule}",
        f"optim.warmup_updates={warmup}",
        "optim.decay_updates=20",
        "optim.lr=0.01",
        "train.max_update=100",
    )
    _, notes = build(recipe(toy, tmp_path, *changes))
    (said,) = [note for note in notes if "warm-up" in note] or [None]
    if reached is None:
        assert said is None
    else:
        assert said == (
            f"warning: --warmup-updates {warmup} reaches into the decay of --lr-scheduler {schedule}, which ends at "
            f"--max-update 100: after the warm-up the learning rate is {reached}, not --lr 0.01"
        )


def test_a_schedule_that_outlasts_the_epochs_causes_a_warning(
    toy: Path, tmp_path: Path
) -> None:
    """The last rate that is announced is that of the last update, up to an error of one update in the estimate."""
    changes = (
        "optim.lr_scheduler=linear",
        "optim.warmup_updates=1",
        "train.max_update=1000",
        "train.max_epoch=2",
    )
    trainer, notes = build(recipe(toy, tmp_path, *changes))
    (said,) = (note for note in notes if "--max-epoch" in note)
    rate = [event.lr for event in steps(list(trainer.run()))][-1]
    assert "but --lr-scheduler linear ends at --max-update 1000: the last" in said
    assert float(said.rpartition(" ")[2]) == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize(
    ("later", "is_named"), [(1.02, False), (1.08, True)], ids=["2%", "8%"]
)
def test_epochs_that_end_just_before_the_schedule_cause_no_warning(
    later: float, is_named: bool, toy: Path, tmp_path: Path
) -> None:
    """Of a linear decay without warm-up the share 1 - 1 / `later` is left, 0.02 or 0.074."""
    changes = (
        "optim.lr_scheduler=linear",
        "optim.warmup_updates=0",
        "train.max_epoch=500",
    )

    def named(name: str, last: int) -> list[str]:
        run = recipe(toy, tmp_path / name, *changes, f"train.max_update={last}")
        return [note for note in build(run)[1] if "--max-epoch" in note]

    (said,) = named("long", 1_000_000)
    updates = int(said.partition("about ")[2].split()[0].replace(",", ""))
    assert bool(named("run", round(updates * later))) == is_named


@pytest.mark.parametrize(
    ("weights", "update"),
    [(("0", "0"), 0), (("0:1,3:0", "0"), 3), (("0:1,3:0", "0:0,2:1,4:0"), 4)],
)
def test_a_run_whose_loss_weights_are_all_0_is_refused(
    weights: tuple[str, str], update: int, toy: Path, tmp_path: Path
) -> None:
    """A run may be continued up to the update at which its last loss weight becomes 0."""
    first, second = weights

    def run(max_update: int) -> Recipe:
        streams = {
            "first": {"dataset": "en", "objective": {"name": "mass"}, "loss_weight": first},
            "second": {"dataset": "de", "objective": {"name": "mass"}, "loss_weight": second},
        }  # fmt: skip
        return recipe(toy, tmp_path, f"train.max_update={max_update}", streams=streams)

    with pytest.raises(MasscliError) as error:
        check_end(run(update + 1))
    assert (
        error.value.message
        == f"nothing is learned from update {update} on, where all loss weights are 0"
    )
    if update:
        check_end(run(update))


def test_a_stream_that_is_never_trained_causes_a_warning(
    toy: Path, tmp_path: Path
) -> None:
    _, notes = build(recipe(toy, tmp_path, "stream.mass.loss_weight=0"))
    messages = [note for note in notes if "never trained" in note]
    assert messages == ["warning: mass is never trained: its loss weight is 0"]


def test_a_run_ends_when_its_hours_are_over_and_continues(
    toy: Path, tmp_path: Path
) -> None:
    length = "train.max_update=6"
    train(recipe(toy, tmp_path / "whole", length))
    events = train(
        recipe(toy, tmp_path / "parts", length, "train.stop_time_hours=1e-9")
    )
    assert len(steps(events)) < 6
    assert "hours are over" in finished(events).reason
    assert (
        "hours are over"
        not in finished(train(recipe(toy, tmp_path / "parts", length))).reason
    )
    assert same_run(tmp_path / "parts", tmp_path / "whole")
