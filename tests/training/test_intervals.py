"""When a run validates and saves, on what, and which checkpoints stay."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.find_checkpoint import saved_checkpoints
from masscli.core.errors import MasscliError
from masscli.data.batches.sampler import Position
from masscli.training.events import Evaluated, Event, Saved
from masscli.training.setup.build import build
from tests.commands import succeed
from tests.toy import recipe
from tests.training.test_trainer import (
    PAIRS,
    finished,
    last_checkpoint,
    same_run,
    train,
    validated_steps,
)

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")

EPOCHS = (
    "train.update_freq=3",
    "train.max_tokens=400",
    "train.max_update=20",
    "checkpoint.save_interval_updates=0",
    "checkpoint.save_interval=1",
    "checkpoint.keep_last=20",
)


def saved(events: Sequence[Event]) -> list[int]:
    return [event.step for event in events if isinstance(event, Saved)]


def epoch_ends(data: Path, folder: Path) -> list[int]:
    """The updates in which the first stream is read to its end, counted batch by batch."""
    trainer, _ = build(recipe(data, folder, *EPOCHS, streams=PAIRS))
    sampler = trainer.streams["pairs"].sampler
    ends = []
    position = Position()
    for batch in range(3 * 20):
        _, position = sampler.at(position)
        _, following = sampler.at(position)
        if following.epoch > position.epoch:
            ends.append(batch // 3 + 1)
    return ends


def test_epochs_are_validated_and_saved(toy: Path, tmp_path: Path) -> None:
    ends = epoch_ends(toy, tmp_path / "plan")
    assert len(ends) >= 4
    whole = train(recipe(toy, tmp_path / "whole", *EPOCHS, streams=PAIRS))
    assert validated_steps(whole) == saved(whole) == sorted({*ends, 20})
    # Stopped at the end of an epoch, before it, and after it.
    parts: list[Event] = []
    for stop in (ends[0], ends[1] - 1, ends[2] + 1, 20):
        parts += train(
            recipe(
                toy,
                tmp_path / "parts",
                *EPOCHS,
                f"train.max_update={stop}",
                streams=PAIRS,
            )
        )
    assert set(ends) <= set(validated_steps(parts))
    assert same_run(tmp_path / "parts", tmp_path / "whole")
    every_second = (
        *EPOCHS,
        "valid.validate_interval=2",
        "valid.validate_interval_updates=0",
    )
    events = train(recipe(toy, tmp_path / "second", *every_second, streams=PAIRS))
    assert validated_steps(events)[:-1] == [step for step in ends[1::2] if step < 20]
    assert saved(events) == sorted({*ends, 20})


def test_validation_waits_or_is_off(toy: Path, tmp_path: Path) -> None:
    waits = ("valid.validate_interval_updates=2", "valid.validate_after_updates=5")
    assert validated_steps(train(recipe(toy, tmp_path / "waits", *waits))) == [6, 8, 10]
    events = train(recipe(toy, tmp_path / "off", "valid.disable_validation=true"))
    assert (validated_steps(events), saved(events)) == ([], [4, 8, 10])
    with pytest.raises(MasscliError) as error:
        build(
            recipe(
                toy,
                tmp_path / "refused",
                "valid.disable_validation=true",
                "checkpoint.patience=2",
            )
        )
    assert error.value.message == "--patience: validation is off"


def test_options_that_need_a_validation_are_refused_without_examples(
    toy: Path, tmp_path: Path
) -> None:
    """The data have a valid split, but no examples of the only stream in it."""
    lines = (toy.parent / "train.en").read_bytes()
    for name in ("train.en", "train.de", "mono"):
        (tmp_path / name).write_bytes(lines)
    data = tmp_path / "data"
    args = ["--langs", "en,de", "--trainpref", str(tmp_path / "train")]
    args += ["--mono", f"valid.en={tmp_path / 'mono'}", "--spm-model", str(toy)]
    succeed(["preprocess", *args, "--destdir", str(data)])
    for change, flag in (
        ("checkpoint.patience=2", "--patience"),
        ("optim.lr_scheduler=reduce_lr_on_plateau", "--lr-scheduler reduce_lr_on_plateau"),
        ("valid.expected_curve=loss=1:2-3", "--expected-curve"),
        ("checkpoint.best_metric=ppl", "--best-metric ppl"),
    ):  # fmt: skip
        with pytest.raises(MasscliError) as error:
            build(recipe(data, tmp_path / "run", change, streams=PAIRS))
        message = f"{flag}: no stream of the run has valid examples in {data}"
        assert error.value.message == message
    _, notes = build(recipe(data, tmp_path / "run", streams=PAIRS))
    assert (
        f"pairs is not validated: {data}: has no pairs en-de in its split valid"
        in notes
    )


def test_no_save_saves_nothing(toy: Path, tmp_path: Path) -> None:
    events = train(recipe(toy, tmp_path, "checkpoint.save=false"))
    assert (validated_steps(events), saved(events), finished(events).step) == (
        [4, 8, 10],
        [],
        10,
    )
    assert saved_checkpoints(tmp_path) == {}


def test_checkpoints_at_the_ends_of_epochs_are_kept(toy: Path, tmp_path: Path) -> None:
    ends = epoch_ends(toy, tmp_path / "plan")
    kept = (
        "checkpoint.keep_last=1",
        "checkpoint.keep_best=0",
        "checkpoint.keep_last_epochs=2",
    )
    options = (*EPOCHS, *kept, "checkpoint.save_interval_updates=1")
    # The second half is made by another process, which must know which checkpoints end an epoch.
    train(recipe(toy, tmp_path / "run", *options, "train.max_update=19", streams=PAIRS))
    train(recipe(toy, tmp_path / "run", *options, streams=PAIRS))
    assert sorted(saved_checkpoints(tmp_path / "run")) == sorted({*ends[-2:], 20})


def test_older_checkpoints_keep_their_weights_only(toy: Path, tmp_path: Path) -> None:
    changes = (
        "checkpoint.save_interval_updates=2",
        "checkpoint.keep_optimizer_states=2",
    )
    train(recipe(toy, tmp_path / "run", *changes))
    train(recipe(toy, tmp_path / "plain"))
    checkpoints = {
        step: Checkpoint.open(path)
        for step, path in saved_checkpoints(tmp_path / "run").items()
    }
    complete = [
        step
        for step, saved in checkpoints.items()
        if "optimizer.safetensors" in saved.checksums
    ]
    assert (sorted(checkpoints), complete) == ([2, 4, 6, 8, 10], [8, 10])
    assert not (checkpoints[2].path / "optimizer.safetensors").exists()
    assert checkpoints[4].verify() and checkpoints[4].model()
    assert same_run(tmp_path / "run", tmp_path / "plain")
    with pytest.raises(MasscliError) as error:
        checkpoints[4].optimizer_state()
    assert "has no optimizer state to continue from" in error.value.message


def test_several_splits_are_measured_as_if_each_were_alone(
    toy: Path, tmp_path: Path
) -> None:
    still = (
        "train.max_update=1",
        "valid.eval_retrieval=true",
        "valid.max_valid_rows=6",
    )
    together = train(
        recipe(toy, tmp_path / "both", *still, "valid.valid_subset=valid,train")
    )
    (both,) = [event for event in together if isinstance(event, Evaluated)]
    for split, prefix in (("valid", ""), ("train", "train.")):
        alone = train(
            recipe(toy, tmp_path / split, *still, f"valid.valid_subset={split}")
        )
        (one,) = [event for event in alone if isinstance(event, Evaluated)]
        assert one.metrics == {
            name: both.metrics[f"{prefix}{name}"] for name in one.metrics
        }
        assert one.signatures == {
            name: both.signatures[f"{prefix}{name}"] for name in one.signatures
        }
    best = recipe(
        toy,
        tmp_path / "both",
        *still,
        "valid.valid_subset=valid,train",
        "checkpoint.best_metric=train.loss",
    )
    assert build(best)[0].writer.kept.scores == {1: both.metrics["train.loss"]}
    assert last_checkpoint(tmp_path / "both").metrics == both.metrics
    with pytest.raises(MasscliError) as error:
        build(recipe(toy, tmp_path / "none", "valid.valid_subset=valid,nonsense"))
    assert "--valid-subset valid,nonsense" in error.value.message


def test_batches_of_validation_have_a_size_of_their_own(
    toy: Path, tmp_path: Path
) -> None:
    plain, _ = build(recipe(toy, tmp_path / "plain", streams=PAIRS))
    large, _ = build(
        recipe(toy, tmp_path / "large", "valid.max_tokens_valid=1000", streams=PAIRS)
    )
    batches = [
        trainer.validator.streams[0].sampler.epoch() for trainer in (plain, large)
    ]
    assert len(batches[0]) > len(batches[1]) == 1
    assert len(batches[1][0]) == 24
    losses = [
        trainer.validator.measure(trainer.model).metrics["loss"]
        for trainer in (plain, large)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    shutil.rmtree(tmp_path / "plain")
