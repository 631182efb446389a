"""What a run leaves on disk: whole or not there, kept or removed, continued or refused, begun from, averaged."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from masscli.__main__ import run as masscli
from masscli.checkpoint import saving, state_file, tensor_file
from masscli.checkpoint.average import average, mixture_warnings, open_members
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.find_checkpoint import saved_checkpoints
from masscli.checkpoint.saving import rank_steps
from masscli.checkpoint.state_file import StateFile, read_state_file, write_state_file
from masscli.core.config import to_dict, to_toml
from masscli.core.errors import MasscliError
from masscli.objectives.labeled.options import (
    ChooseOptions,
    ClassifyOptions,
    RegressOptions,
)
from masscli.objectives.shared.table_options import TableOptions
from masscli.text.stored_vocabulary import find_model_file
from masscli.training.config import CheckpointConfig
from masscli.training.kept_checkpoints import KeptCheckpoints
from masscli.training.recipe import Recipe, StreamConfig
from masscli.training.setup.build import build
from tests.commands import succeed
from tests.toy import make_data, recipe
from tests.training.test_trainer import (
    MASS,
    PAIRS,
    during_update,
    last_checkpoint,
    same_run,
    train,
)

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")


@pytest.fixture(scope="module")
def whole(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten updates, saved at 4, 8 and 10."""
    folder = tmp_path_factory.mktemp("whole")
    train(recipe(toy, folder))
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to do things to."""
    return shutil.copytree(whole, tmp_path / "run", symlinks=True)


def refused(action: Callable[[], object]) -> tuple[str, str | None]:
    with pytest.raises(MasscliError) as error:
        action()
    return error.value.message, error.value.hint


# -- kills ---------------------------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


DISK_CALLS = [
    (saving, "write_synced"), (state_file, "write_atomic"), (tensor_file, "save_file"), (Path, "mkdir"), (Path, "rename"), (Path, "replace"), (Path, "symlink_to"),
    (Path, "unlink"), (shutil, "rmtree"),
]  # fmt: skip
"""What saving does to the disk."""


def count_disk_calls(number: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count calls that change the disk from now on, and raise Killed after `number` of them; return the growing list of their names."""
    done: list[str] = []

    def watched(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            if len(done) == number:
                raise Killed
            done.append(name)
            return original(*args, **options)

        return counted

    for place, name in DISK_CALLS:
        monkeypatch.setattr(place, name, watched(name, getattr(place, name)))
    return done


def test_a_kill_at_any_moment_of_a_save_leaves_a_run_that_can_be_continued(
    toy: Path, tmp_path: Path
) -> None:
    """The second save also removes the first checkpoint; the run is killed before each thing it does to the disk."""
    start, whole = tmp_path / "start", tmp_path / "whole"
    changes = (
        "checkpoint.keep_last=1",
        "checkpoint.save_interval_updates=2",
        "valid.max_valid_rows=2",
        "train.max_update=4",
    )
    train(recipe(toy, start, *changes, "train.max_update=2", streams=PAIRS))
    train(recipe(toy, whole, *changes, streams=PAIRS))
    number = 0
    while True:
        folder = shutil.copytree(start, tmp_path / str(number), symlinks=True)
        trainer, _ = build(recipe(toy, folder, *changes, streams=PAIRS))
        with pytest.MonkeyPatch.context() as patch:
            done = count_disk_calls(number, patch)
            try:
                list(trainer.run())
                break
            except Killed:
                pass
        assert last_checkpoint(folder).state.step in (2, 4)
        train(recipe(toy, folder, *changes, streams=PAIRS))
        assert same_run(folder, whole)
        best = Checkpoint.open(folder)
        assert best.metrics["loss"] == min(
            Checkpoint.open(path).metrics["loss"]
            for path in saved_checkpoints(folder).values()
        )
        assert not [
            p.name for p in (folder / "checkpoints").iterdir() if p.name.startswith(".")
        ]
        number += 1
    assert set(done) == {name for _, name in DISK_CALLS}
    assert number == len(done)


@pytest.mark.parametrize(
    ("error", "why", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device",
         "make room, then run the same command again"),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
         "No space left on device", "make room, then run the same command again"),
        (SafetensorError("Error while serializing: I/O error: File too large (os error 27)"), "File too large",
         "raise the limit of the size of files (ulimit -f), then run the same command again"),
        # Without a number of the system, the message of the library is all there is.
        (SafetensorError("Error while serializing: odd"), "Error while serializing: odd",
         "the disk reports an error: try another one"),
        # More room would help with none of these.
        (SafetensorError("Error while serializing: I/O error: Permission denied (os error 13)"), "Permission denied",
         "choose a place that may be written to and files that may be read"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system",
         "choose a place that may be written to"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error",
         "the disk reports an error: try another one"),
    ],
)  # fmt: skip
def test_a_full_disk_prevents_the_save_and_nothing_else(
    error: Exception,
    why: str,
    remedy: str,
    toy: Path,
    run: Path,
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("masscli.checkpoint.tensor_file.save_file", full)
        message, hint = refused(lambda: train(recipe(toy, run, "train.max_update=12")))
    assert message == f"{run / 'checkpoints/step-0000012'}: cannot be written ({why})"
    assert hint == remedy
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == [
        "best",
        "last",
        "step-0000004",
        "step-0000008",
        "step-0000010",
    ]
    assert same_run(run, whole)


# -- what is kept --------------------------------------------------------------------------------------------------------------------------


def test_the_best_checkpoint_is_kept_until_there_is_another_one(
    toy: Path, tmp_path: Path
) -> None:
    """A run that goes on with other validation examples, or another metric, has no score to compare at first."""
    still = ("optim.lr=1e-30", "optim.warmup_init_lr=0")
    every = ("checkpoint.keep_last=1", "checkpoint.save_interval_updates=2")

    def train_until(update: int, *changes: str) -> tuple[int, list[int]]:
        train(
            recipe(
                toy, tmp_path, *still, *every, f"train.max_update={update}", *changes
            )
        )
        return Checkpoint.open(tmp_path).state.step, [*saved_checkpoints(tmp_path)]

    assert train_until(6) == (2, [2, 6])
    later = ("valid.max_valid_rows=2", "valid.validate_after_updates=9")
    assert train_until(8, *later) == (2, [2, 8])
    assert train_until(10, *later) == (10, [10])


def test_the_latest_and_the_best_are_kept() -> None:
    kept = {1: 5.0, 2: 3.0, 3: 4.0, 4: None, 5: 3.0, 6: 6.0}
    assert rank_steps(kept, lower_is_better=True) == [2, 5, 3, 1, 6]
    assert rank_steps(kept, lower_is_better=False) == [6, 1, 3, 2, 5]

    def stale(**options: Any) -> list[int]:
        checkpoints = KeptCheckpoints(Path("nowhere"), CheckpointConfig(**options))
        for step, score in kept.items():
            checkpoints.add(step, score, ends_epoch=step in (1, 4))
        return checkpoints.stale_steps()

    assert stale(keep_last=2, keep_best=1) == [1, 3, 4]
    assert stale(keep_last=1, keep_best=2, best_metric="bleu") == [2, 3, 4, 5]
    assert stale(keep_last=9, keep_best=0) == []
    assert stale(keep_last=1, keep_best=1, keep_last_epochs=1) == [1, 3, 5]
    assert stale(keep_last=1, keep_best=1, keep_last_epochs=5) == [3, 5]


def test_a_run_keeps_its_best_and_latest_checkpoints(toy: Path, tmp_path: Path) -> None:
    changes = (
        "checkpoint.save_interval_updates=1",
        "checkpoint.keep_last=2",
        "checkpoint.keep_best=2",
        "valid.validate_interval_updates=3",
    )
    train(recipe(toy, tmp_path, *changes, "train.max_update=7"))
    steps = saved_checkpoints(tmp_path)
    scores = {
        step: Checkpoint.open(path).metrics.get("loss") for step, path in steps.items()
    }
    assert [step for step in steps if scores[step] is not None] == [3, 6]
    assert list(steps) == [3, 6, 7]
    assert (tmp_path / "checkpoints/last").resolve() == steps[7].resolve()
    assert (tmp_path / "checkpoints/best").resolve() == steps[
        rank_steps(scores, lower_is_better=True)[0]
    ].resolve()


def test_other_files_in_the_folder_are_left_alone(toy: Path, run: Path) -> None:
    shutil.copytree(
        run / "checkpoints/step-0000004", run / "checkpoints/step-0000004-copy"
    )
    train(recipe(toy, run, "train.max_update=11", "checkpoint.keep_last=1"))
    assert (run / "checkpoints/step-0000004-copy").is_dir()
    assert not (run / "checkpoints/step-0000004").exists()


def test_reading_a_run_leaves_an_unfinished_save_to_its_writer(
    run: Path, tmp_path: Path
) -> None:
    (run / "checkpoints/.step-0000012.new").mkdir()
    average(open_members([run], 2), tmp_path / "mean")
    assert (run / "checkpoints/.step-0000012.new").exists()


def test_a_kill_at_any_moment_of_an_average_is_repaired_or_accepted(
    run: Path, tmp_path: Path
) -> None:
    number = 0
    while True:
        output = tmp_path / str(number)
        with pytest.MonkeyPatch.context() as patch:
            done = count_disk_calls(number, patch)
            try:
                average(open_members([run], 2), output)
                break
            except Killed:
                pass
        # What is complete is accepted; everything else is no obstacle for the same command.
        if not (output / "checkpoints").exists():
            average(open_members([run], 2), output)
        assert Checkpoint.open(output).verify() > 0
        assert [path.name for path in output.iterdir()] == ["checkpoints"]
        number += 1
    assert "rename" in done
    assert len(done) > 3


def test_a_checkpoint_or_run_that_is_given_twice_is_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = (run / "checkpoints" / "last").resolve()
    twice = [str(run), str(checkpoint)]
    succeed(["average", *twice, "-o", str(tmp_path / "mean")])
    message = f"warning: {checkpoint}: is given twice, and so counts twice in the mean"
    assert message in capsys.readouterr().err.splitlines()
    masscli(["report", str(run), f"{run}/."])
    assert f"warning: {run}: is given twice" in capsys.readouterr().err.splitlines()


def test_averages_of_runs_that_began_differently_are_pointed_out(run: Path) -> None:
    first = Checkpoint.open(run)
    other_seed = replace(
        first, recipe=replace(first.recipe, seed=first.recipe.seed + 1)
    )
    assert mixture_warnings([first, first]) == []
    (warning,) = mixture_warnings([first, other_seed, first])
    assert (
        "began with different weights (--seed, --init-from, --init-decoder-from)"
        in warning
    )
    # Both were fine-tuned from one checkpoint, however it is named.
    paths = (run, run / "checkpoints" / "..")
    members = [
        replace(one, recipe=replace(one.recipe, init_from=path))
        for one, path in zip((first, other_seed), paths, strict=True)
    ]
    assert mixture_warnings(members) == []
    assert len(mixture_warnings([members[0], first])) == 1
    other_decoder = replace(
        members[0], recipe=replace(members[0].recipe, init_decoder_from=run)
    )
    assert len(mixture_warnings([members[0], other_decoder])) == 1


def test_all_files_have_the_permissions_of_new_files(run: Path, tmp_path: Path) -> None:
    """safetensors makes files that only their owner may read, and a group could not use the run."""
    (tmp_path / "other").touch()
    expected = (tmp_path / "other").stat().st_mode
    modes = {
        path.name: path.stat().st_mode
        for path in (run / "checkpoints/step-0000010").iterdir()
    }
    assert modes == dict.fromkeys(modes, expected)
    assert len(modes) > 4


# -- damage --------------------------------------------------------------------------------------------------------------------------------

GO_ON = "use another checkpoint; training continues from the last complete one"


def everything(path: Path) -> object:
    found = Checkpoint.open(path)
    return found.weights(), found.objective_state(), found.optimizer_state()


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "recipe.toml", "vocab.model"]
)
def test_damage_is_found_and_the_file_named(name: str, run: Path) -> None:
    path = run / "checkpoints/step-0000010" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert refused(lambda: everything(path.parent)) == (
        f"{path}: damaged (its checksum differs)",
        GO_ON,
    )
    path.write_bytes(content[:-7])
    assert refused(lambda: everything(path.parent))[0].endswith(
        f"{name}: damaged (its checksum differs)"
    )
    path.unlink()
    assert refused(lambda: last_checkpoint(run))[0].endswith(f"{name}: missing")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit of the weights": lambda step: flip(step / "model.safetensors"),
    "a bit of the optimizer": lambda step: flip(step / "optimizer.safetensors"),
    "a bit of the state": lambda step: flip(step / "state.json"),
    "no state": lambda step: (step / "state.json").unlink(),
    "no weights": lambda step: (step / "model.safetensors").unlink(),
    "an empty recipe": lambda step: (step / "recipe.toml").write_bytes(b""),
    "an empty folder": lambda step: [path.unlink() for path in step.iterdir()],
    "a folder for a file": lambda step: [
        (step / "vocab.model").unlink(),
        (step / "vocab.model").mkdir(),
    ],
}


def flip(path: Path) -> None:
    """Change a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("kind", DAMAGE)
def test_after_damage_a_run_continues_from_the_previous_checkpoint(
    kind: str, toy: Path, run: Path, whole: Path
) -> None:
    steps = run / "checkpoints"
    DAMAGE[kind](steps / "step-0000010")
    # It is not the last, so its tensors are not asked for.
    (steps / "step-0000004/model.safetensors").write_bytes(b"")
    trainer, notes = build(recipe(toy, run))
    (warning,) = [note for note in notes if note.startswith("warning: ")]
    assert warning.startswith(f"warning: {steps / 'step-0000010'}")
    assert warning.endswith("this checkpoint is not used")
    assert f"continuing {run} from update 8" in notes
    list(trainer.run())
    assert same_run(run, whole)


def test_with_two_damaged_checkpoints_the_first_is_used_and_with_three_none(
    toy: Path, run: Path
) -> None:
    steps = run / "checkpoints"
    flip(steps / "step-0000010/model.safetensors")
    flip(steps / "step-0000008/state.json")
    assert f"continuing {run} from update 4" in build(recipe(toy, run))[1]
    flip(steps / "step-0000004/optimizer.safetensors")
    message, hint = refused(lambda: build(recipe(toy, run)))
    assert len(message.split("\n")) == 3
    assert (
        hint
        == f"no checkpoint of {run} is complete: start over with another --save-dir"
    )


def test_a_checkpoint_of_another_format_is_not_taken_for_damaged(
    toy: Path, run: Path
) -> None:
    state = run / "checkpoints/step-0000010/state.json"
    state.write_text(state.read_text().replace('"format": 2', '"format": 99'))
    assert "checkpoint format 99" in refused(lambda: build(recipe(toy, run)))[0]


def test_a_run_without_links_means_its_last_checkpoint(run: Path) -> None:
    """Such a run remains after a kill between the first save and the creation of its links."""
    for name in ("best", "last"):
        (run / "checkpoints" / name).unlink(missing_ok=True)
    assert Checkpoint.open(run).state.step == 10
    assert find_model_file(run) == run / "checkpoints/step-0000010/vocab.model"


def test_a_run_that_is_removed_while_it_is_trained_is_saved_once_more(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    during_update(6, lambda trainer: shutil.rmtree(folder), monkeypatch)
    message, hint = refused(
        lambda: train(recipe(toy, folder, "checkpoint.keep_last=1"))
    )
    gone = folder / "checkpoints" / "step-0000004"
    assert message == (
        f"{folder}: was moved or removed while the run was trained ({gone} is gone)"
    )
    assert hint is not None and "the same command continues" in hint
    monkeypatch.undo()
    train(recipe(toy, folder))
    assert last_checkpoint(folder).state.step == 10


def test_a_run_that_was_copied_without_links_can_be_continued(
    toy: Path, run: Path, tmp_path: Path
) -> None:
    """`scp -r` and `cp -rL` copy the checkpoints in place of the links."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    assert not (copy / "checkpoints" / "last").is_symlink()
    for folder in (run, copy):
        train(recipe(toy, folder, "train.max_update=12"))
    assert same_run(run, copy)
    assert (copy / "checkpoints" / "last").readlink() == Path("step-0000012")


def test_a_folder_in_place_of_a_link_that_is_not_a_copy_is_kept(
    toy: Path, run: Path
) -> None:
    """The folder may be the only undamaged copy of a checkpoint."""
    last_link = run / "checkpoints" / "last"
    saved = last_link.resolve()
    last_link.unlink()
    shutil.copytree(saved, last_link)
    with open(saved / "model.safetensors", "r+b") as file:
        file.truncate(100)
    message, hint = refused(lambda: train(recipe(toy, run, "train.max_update=12")))
    assert message.startswith(f"{last_link}: is a folder in the place of a link")
    assert hint is not None and "move it away" in hint
    assert (last_link / "model.safetensors").stat().st_size > 100


def test_folders_that_are_not_checkpoints_are_named(run: Path, tmp_path: Path) -> None:
    missing = refused(lambda: Checkpoint.open(tmp_path / "nowhere"))
    assert missing == (
        f"{tmp_path / 'nowhere'}: no such run or checkpoint",
        "train one with `masscli pretrain` or `masscli finetune`",
    )
    (tmp_path / "empty").mkdir()
    empty = refused(lambda: Checkpoint.open(tmp_path / "empty"))
    assert empty == (
        f"{tmp_path / 'empty'}: holds no checkpoint",
        "give the folder of a run, or one of its checkpoints/step-N",
    )
    for name in "abcdefghij":
        (tmp_path / "empty" / name / "checkpoints").mkdir(parents=True)
    runs = ", ".join(str(tmp_path / "empty" / name) for name in "abcdefgh")
    assert refused(lambda: Checkpoint.open(tmp_path / "empty")) == (
        f"{tmp_path / 'empty'}: holds no checkpoint",
        f"it is a folder of runs: name one of {runs} and 2 more",
    )
    for name in ("checkpoint_best.pt", "folder/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
        place = tmp_path / name.removesuffix("/config.json")
        assert refused(lambda at=place: Checkpoint.open(at)) == (
            f"{place}: is a model of another program, not a run of masscli",
            f"`masscli import {place} --output RUN` makes a run of it",
        )
    state = run / "checkpoints/step-0000010/state.json"
    text = state.read_text()
    for other in (1, 99):
        state.write_text(text.replace('"format": 2', f'"format": {other}'))
        assert refused(lambda: Checkpoint.open(state.parent)) == (
            f"{state.parent}: has checkpoint format {other}, this masscli reads 2",
            "use the version of masscli that wrote it, or train again",
        )
    deep = "[" * 100_000
    huge = text.replace('"step": 10', '"step": 1' + "0" * 5000)
    for broken in (
        text[:100],
        "[]",
        "{}",
        deep,
        huge,
        text.replace('"step"', '"stepp"'),
    ):
        state.write_text(broken)
        assert refused(lambda: Checkpoint.open(state.parent))[0].startswith(
            f"{state}: damaged ("
        )


def test_no_changed_value_of_the_state_is_accepted(run: Path) -> None:
    state = run / "checkpoints/step-0000010/state.json"
    text = state.read_text()
    for key in (
        "step",
        "targets",
        "update_freq",
        "seconds",
        "loss_scale",
        "oom_retries",
    ):
        changed = re.sub(rf'("{key}": )[\d.]+', r"\g<1>7", text)
        assert changed != text
        state.write_text(changed)
        expected = f"{state}: damaged (it does not match its checksum)"
        assert refused(lambda: Checkpoint.open(state.parent))[0] == expected
    # White space and the order of keys are no contents.
    state.write_text(json.dumps(json.loads(text), sort_keys=True))
    assert Checkpoint.open(state.parent).state.step == 10


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"step": 1.5}, "step: expected int, got 1.5"),
        ({"step": None}, "step: expected int, got None"),
        ({"step": -1}, "a count is below 0"),
        ({"targets": 2**63}, "targets: expected an integer of at most 64 bits"),
        ({"positions": {"en-de": [0, 2**70, 0]}}, "a count has more than 64 bits"),
        ({"seconds": "long"}, "seconds: expected float, got 'long'"),
        ({"languages": {"en": 1}}, "languages: expected a list, got {'en': 1}"),
        ({"positions": {"en-de": [1, 2]}}, "the position of en-de is not 3 numbers"),
        (
            {"positions": {"en-de": [1, 2, True]}},
            "the position of en-de is not 3 numbers",
        ),
        ({"positions": {"en-de": [0, -1, 0]}}, "a count is below 0"),
        ({"positions": []}, "positions is not a table"),
        ({"cpu_precision": "fp8"}, "cpu_precision: 'fp8' is not one of , bf16, fp32"),
        ({"stepp": 1}, "stepp: unknown key, did you mean 'step'?"),
    ],
)
def test_types_of_the_state_are_checked(
    run: Path, values: dict[str, object], reason: str
) -> None:
    """A state with a wrong value is refused even if its checksum was computed anew."""
    folder = run / "checkpoints/step-0000010"
    good = read_state_file(folder)
    write_state_file(
        folder,
        StateFile(
            state={**good.state, **values}, metrics=good.metrics, files=good.files
        ),
    )
    assert (
        refused(lambda: Checkpoint.open(folder))[0]
        == f"{folder / 'state.json'}: damaged ({reason})"
    )


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/b"])
def test_files_of_other_folders_are_refused(run: Path, name: str) -> None:
    folder = run / "checkpoints/step-0000010"
    good = read_state_file(folder)
    write_state_file(
        folder,
        StateFile(
            state=good.state, metrics=good.metrics, files={**good.files, name: "0" * 64}
        ),
    )
    assert refused(lambda: Checkpoint.open(folder))[0].endswith(
        "is not the name of a file)"
    )


def test_a_state_that_lacks_a_file_or_itself_is_damaged(run: Path) -> None:
    """Its checksum is correct, so another program must have written it."""
    folder = run / "checkpoints/step-0000010"
    good = read_state_file(folder)
    for name in ("model.safetensors", "recipe.toml"):
        files = {key: value for key, value in good.files.items() if key != name}
        write_state_file(
            folder, StateFile(state=good.state, metrics=good.metrics, files=files)
        )
        message = refused(lambda: Checkpoint.open(folder))[0]
        assert message == f"{folder / 'state.json'}: damaged (it does not list {name})"
    nothing = StateFile(state=[], metrics=good.metrics, files=good.files)  # type: ignore[arg-type]
    write_state_file(folder, nothing)
    message = refused(lambda: Checkpoint.open(folder))[0]
    assert message == f"{folder / 'state.json'}: damaged (it has no state)"


def test_a_checkpoint_that_cannot_be_replaced_stays(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails between the two renames that put a folder into the place of another."""
    old = last_checkpoint(run)
    before = sorted(path.name for path in (run / "checkpoints").iterdir())
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name.endswith(".new"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    tokenizer, weights = old.tokenizer(), old.weights()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        message, hint = refused(
            lambda: saving.save_checkpoint(
                run / "checkpoints",
                old.recipe,
                old.state,
                tokenizer,
                model=weights,
            )
        )
    assert message.endswith("step-0000010: cannot be written (Input/output error)")
    assert hint == "the disk reports an error: try another one"
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == before
    assert last_checkpoint(run).verify()


@pytest.mark.parametrize("command", ["average", "import", "export"])
def test_an_output_that_is_a_file_is_kept(
    command: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "notes.txt"
    output.write_text("mine")
    source = [str(run)]
    if command == "export":
        source += ["--to", "safetensors"]
    assert masscli([command, *source, "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and str(output) in error
    assert output.read_text() == "mine"


# -- continuing ----------------------------------------------------------------------------------------------------------------------------


def test_a_run_is_not_continued_with_another_recipe(toy: Path, run: Path) -> None:
    for changes, said in (
        (["model.dim=32"], "model.dim is 32, was 16"),
        (
            ["optim.lr=0.02", "train.max_tokens=99"],
            "optim.lr is 0.02, was 0.01; train.max_tokens is 99, was 150",
        ),
        (["seed=2"], "seed is 2, was 1"),
        (
            [
                "seed=2",
                "model.dim=32",
                "model.heads=4",
                "model.ffn_dim=64",
                "model.encoder_layers=2",
                "optim.lr=0.02",
            ],
            "model.dim is 32, was 16; model.encoder_layers is 2, was 1; model.ffn_dim is 64, was 32; model.heads is 4, was 2 "
            "and 2 more",
        ),
        (["stream.mass.objective.k=0.3"], "stream.mass.objective.k is 0.3, was None"),
        (["stream.pairs.max_examples=9"], "stream.pairs.max_examples is 9, was None"),
    ):
        message, hint = refused(
            lambda changes=changes: build(recipe(toy, run, *changes))
        )  # type: ignore[misc]
        assert message == f"{run}: holds a run with another recipe ({said})"
        assert hint.endswith(
            "start another run with --save-dir, or begin from its weights with --init-from"
        )
        # Some changes can be accepted; of the others it is told how not to make them.
        go_on = f"repeat its options to go on, as --config {run} does; or "
        if changes[0] == "optim.lr=0.02":
            go_on = "add --accept-changes to go on with it, or "
        assert hint.startswith(go_on)
    freq = refused(lambda: build(recipe(toy, run, "train.update_freq=3")))
    assert freq == (
        "--update-freq 3 differs from the 2 that the run began with",
        "leave it out, or add --accept-changes",
    )
    build(
        recipe(
            toy,
            run,
            "train.max_update=99",
            "checkpoint.patience=3",
            "train.num_workers=1",
            "train.log_interval=5",
        )
    )


def test_a_run_is_not_continued_with_another_vocabulary(
    run: Path, tmp_path: Path
) -> None:
    other = make_data(tmp_path / "other", vocab_size=90)
    path = run / "checkpoints/step-0000010"
    assert refused(lambda: build(recipe(other, run))) == (
        f"{path}: the run was made with a different vocabulary from {other}",
        "continue it with its own data, or start another run with --save-dir",
    )


def test_another_metric_finds_its_best_among_what_is_kept(toy: Path, run: Path) -> None:
    """Losses fell, so the last is best; of a metric that is better high, it is the worst."""
    trainer, _ = build(recipe(toy, run, "checkpoint.best_metric=mass.loss"))
    scores = {
        step: Checkpoint.open(path).metrics["mass.loss"]
        for step, path in saved_checkpoints(run).items()
    }
    assert trainer.state.best_score == min(scores.values())
    assert Checkpoint.open(run).metrics["mass.loss"] == min(scores.values())


def test_scores_on_other_examples_are_not_compared(toy: Path, run: Path) -> None:
    """A loss on one example says nothing about a loss on all; the first losses count again where all are measured again."""
    scores = [
        Checkpoint.open(path).metrics["loss"]
        for path in saved_checkpoints(run).values()
    ]
    message = "validation is on other examples than so far"
    one = recipe(toy, run, "valid.max_valid_rows=1", "train.max_update=11")
    trainer, notes = build(one)
    assert message in " ".join(notes)
    assert (trainer.state.best_score, trainer.state.validations_since_best) == (None, 0)
    list(trainer.run())
    assert Checkpoint.open(run).state.step == 11
    assert not any(message in note for note in build(one)[1])

    trainer, notes = build(recipe(toy, run))
    assert message in " ".join(notes)
    assert trainer.state.best_score == min(scores)
    # Where nothing is measured, nothing is forgotten.
    trainer, notes = build(recipe(toy, run, "valid.disable_validation=true"))
    assert message not in " ".join(notes)
    assert trainer.state.best_score is not None


def command(run: Recipe, path: Path, *args: str) -> int:
    """`masscli finetune` with that recipe, without its rate and its warm-up."""
    raw = to_dict(run)
    raw["optim"] = {
        k: v for k, v in raw["optim"].items() if k not in ("lr", "warmup_updates")
    }
    path.write_text(to_toml(raw), encoding="utf-8")
    return masscli(["finetune", "--config", str(path), *args])


def test_a_longer_run_keeps_the_learning_rate_it_started_with(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Default warm-up depends on --max-update; a run that is made longer does not begin to warm up again, or refuse."""
    short = recipe(
        toy,
        tmp_path / "run",
        "train.max_update=20",
        "checkpoint.save_interval_updates=50",
        streams=PAIRS,
    )
    assert command(short, tmp_path / "a.toml") == 0
    begun = last_checkpoint(tmp_path / "run").recipe.optim
    assert (begun.warmup_updates, begun.lr) == (2, 0.016)
    assert command(short, tmp_path / "a.toml", "--max-update", "30") == 0
    assert "continuing" in capsys.readouterr().err
    assert (
        last_checkpoint(tmp_path / "run").state.step,
        last_checkpoint(tmp_path / "run").recipe.optim,
    ) == (
        30,
        begun,
    )
    assert command(short, tmp_path / "a.toml", "--max-update", "30") == 0
    assert (
        "has already made 30 updates; raise --max-update to go on"
        in capsys.readouterr().err
    )


# -- beginning from other weights ----------------------------------------------------------------------------------------------------------


def test_weights_are_copied_and_everything_else_starts_anew(
    toy: Path, whole: Path, tmp_path: Path
) -> None:
    trainer, notes = build(
        recipe(toy, tmp_path, f"init_from={whole}", "seed=5", streams=PAIRS)
    )
    best = Checkpoint.open(whole)
    assert notes == [f"{len(best.weights())} tensors from {best.path}"]
    assert all(
        torch.equal(tensor, best.weights()[name])
        for name, tensor in trainer.model.state_dict().items()
    )
    assert (
        trainer.state.step,
        trainer.state.positions,
        len(trainer.parts.optimizer.state),
    ) == (0, {}, 0)


def test_language_embeddings_are_copied_by_name(
    toy: Path, whole: Path, tmp_path: Path
) -> None:
    """The weights have embeddings of de and fr, and the data has en and de."""
    other = shutil.copytree(whole, tmp_path / "other", symlinks=True)
    path = other / "checkpoints/step-0000010"
    rename_languages(path, ("de", "fr"))
    trainer, notes = build(
        recipe(toy, tmp_path / "run", f"init_from={path}", streams=PAIRS)
    )
    assert trainer.model.languages == ("de", "fr", "en")
    theirs, ours = Checkpoint.open(path).weights(), trainer.model.state_dict()
    for stack in ("encoder", "decoder"):
        name = f"embeddings.{stack}.languages.weight"
        assert torch.equal(ours[name][:2], theirs[name])
    assert notes[1:] == ["languages without a vector there, the mean of the others: en"]


def rename_languages(path: Path, languages: tuple[str, ...]) -> None:
    contents = read_state_file(path)
    changed = StateFile(
        state={**contents.state, "languages": languages},
        metrics=contents.metrics,
        files=contents.files,
    )
    write_state_file(path, changed)


def test_weights_of_another_shape_or_vocabulary_are_refused(
    toy: Path, whole: Path, tmp_path: Path
) -> None:
    path = Checkpoint.open(whole).path
    shape = refused(
        lambda: build(
            recipe(toy, tmp_path / "a", f"init_from={whole}", "model.ffn_dim=48")
        )
    )
    assert (
        shape[0]
        == f"{path}: encoder.layers.0.fc1.weight is (32, 16), the model needs (48, 16)"
    )
    other = make_data(tmp_path / "other", vocab_size=90)
    message, hint = refused(
        lambda: build(recipe(other, tmp_path / "b", f"init_from={whole}"))
    )
    assert message == f"{path}: was trained with a different vocabulary from the data"
    assert (
        hint
        == f"preprocess the text with --spm-model {path}, or for a new language with --extend"
    )


@pytest.mark.parametrize("objective", ["mlm", "clm"])
def test_half_a_model_is_completed(
    objective: str, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Translation can start from an encoder or a decoder alone; the missing stack has the given size."""
    common = (
        f"{toy} --max-update 2 --max-tokens 200 --num-workers 0 --threads 1".split()
    )
    half = tmp_path / objective
    present, lacking = (
        ("encoder", "decoder") if objective == "mlm" else ("decoder", "encoder")
    )
    size = ["--dim", "16", "--heads", "2", f"--{present}-layers", "1"]
    succeed(
        [
            "pretrain",
            *common,
            "--objective",
            objective,
            *size,
            "--save-dir",
            str(half),
        ]
    )
    more = (
        f"--task translate -s en -t de --init-from {half} --{lacking}-layers 2".split()
    )
    succeed(["finetune", *common, *more, "--save-dir", str(tmp_path / "run")])
    [new] = [
        line
        for line in capsys.readouterr().err.split("\n")
        if line.startswith("new, drawn at random: ")
    ]
    assert f"{lacking} (" in new
    model = last_checkpoint(tmp_path / "run").recipe.model
    assert (model.encoder_layers, model.decoder_layers) == (
        (1, 2) if objective == "mlm" else (2, 1)
    )
    wrong = f"--task translate -s en -t de --init-from {half} --dim 32".split()
    assert (
        masscli(["finetune", *common, *wrong, "--save-dir", str(tmp_path / "wrong")])
        == 2
    )
    assert (
        f"error: --dim 32 differs from the weights in {half}: their dim is 16"
        in capsys.readouterr().err
    )


# -- averaging -----------------------------------------------------------------------------------------------------------------------------


def test_the_average_is_the_mean_in_any_order(run: Path, tmp_path: Path) -> None:
    chosen = open_members([run], 3)
    assert [c.state.step for c in chosen] == [4, 8, 10]
    forward, backward = (
        average(order, tmp_path / name)
        for order, name in ((chosen, "a"), (chosen[::-1], "b"))
    )
    weights = [load_file(c.path / "model.safetensors") for c in chosen]
    for name, tensor in Checkpoint.open(tmp_path / "a").weights().items():
        mean = np.mean(
            [w[name].numpy().astype(np.float64) for w in weights], axis=0
        ).astype(np.float32)
        assert np.array_equal(tensor.numpy(), mean)
    assert (forward / "model.safetensors").read_bytes() == (
        backward / "model.safetensors"
    ).read_bytes()


def test_a_checkpoint_given_twice_weighs_twice(run: Path, tmp_path: Path) -> None:
    first, last_one = open_members([run / "checkpoints/step-0000004", run], None)
    average([first, first, last_one, first], tmp_path / "mean")
    once, other = first.weights(), last_one.weights()
    for name, tensor in Checkpoint.open(tmp_path / "mean").weights().items():
        expected = (3 * once[name].double() + other[name].double()) / 4
        assert torch.equal(tensor, expected.to(tensor.dtype))


def test_an_average_is_a_run_to_use_and_not_to_continue(
    toy: Path, run: Path, tmp_path: Path
) -> None:
    average(
        open_members([run / "checkpoints/step-0000004", run], None), tmp_path / "mean"
    )
    _, notes = build(
        recipe(toy, tmp_path / "next", f"init_from={tmp_path / 'mean'}", streams=MASS)
    )
    assert notes[0].endswith(
        f"tensors from {tmp_path / 'mean/checkpoints/step-0000010'}"
    )
    assert refused(lambda: build(recipe(toy, tmp_path / "mean"))) == (
        f"{tmp_path / 'mean/checkpoints/step-0000010'}: has no optimizer state to continue from",
        "start a new run from its weights with --init-from",
    )


def test_only_checkpoints_of_one_model_are_averaged(
    toy: Path, run: Path, tmp_path: Path
) -> None:
    train(recipe(toy, tmp_path / "wide", "model.ffn_dim=48", "train.max_update=1"))
    mixed = open_members([run, tmp_path / "wide"], None)
    assert (
        refused(lambda: average(mixed, tmp_path / "mean"))[0]
        == f"{mixed[1].path}: is not the same model as {mixed[0].path}"
    )
    few = refused(lambda: open_members([run], 4))
    assert few == (
        f"{run}: holds 3 checkpoints, not 4",
        "keep more of them with --keep-last",
    )
    step = run / "checkpoints/step-0000004"
    assert refused(lambda: open_members([step], 2)) == (
        f"{step}: is a checkpoint, and --last is for runs",
        "name its run, or leave --last out",
    )
    nowhere = tmp_path / "nowhere"
    assert (
        refused(lambda: open_members([nowhere], 2))[0]
        == f"{nowhere}: no such run or checkpoint"
    )
    assert refused(lambda: average(open_members([run], 2), run)) == (
        f"{run}: is not empty",
        "choose another folder with --output",
    )


@pytest.mark.parametrize("second", [{"pairs.out.weight": (1, 4)}, {}])
def test_tensors_of_different_shapes_or_names_are_not_averaged(
    second: dict[str, tuple[int, int]], run: Path, tmp_path: Path
) -> None:
    """Streams of one name may have tasks with different labels: a row could otherwise be broadcast to three."""
    plain = Checkpoint.open(run)
    members = []
    for name, shapes in (("a", {"pairs.out.weight": (3, 4)}), ("b", second)):
        heads = {key: torch.ones(shape) for key, shape in shapes.items()}
        path = saving.save_new_run(
            tmp_path / name,
            plain.recipe,
            plain.state,
            plain.tokenizer(),
            model=plain.weights(),
            objectives=heads,
        )
        members.append(Checkpoint.open(path))
    for order in (members, members[::-1]):
        assert refused(lambda order=order: average(order, tmp_path / "mean")) == (
            f"{order[1].path}: is not the same model as {order[0].path}",
            "average checkpoints of one run",
        )
    assert not (tmp_path / "mean").exists()


@pytest.mark.parametrize(
    "tasks",
    [
        (ClassifyOptions(labels=("no", "yes")), ClassifyOptions(labels=("yes", "no"))),
        (RegressOptions(low=0.0, high=1.0), RegressOptions(low=0.0, high=5.0)),
        (ChooseOptions(head="tanh"), ChooseOptions(head="gelu")),
    ],
    ids=["labels", "scale", "head"],
)
def test_heads_with_different_meanings_are_not_averaged(
    tasks: tuple[TableOptions, TableOptions], run: Path, tmp_path: Path
) -> None:
    """The shapes are the same, but a row would be averaged with that of another label, for instance."""
    plain = Checkpoint.open(run)
    members = []
    for number, objective in enumerate(tasks):
        stream = StreamConfig(objective=objective, dataset="pairs")
        path = saving.save_new_run(
            tmp_path / str(number),
            replace(plain.recipe, stream={"pairs": stream}),
            plain.state,
            plain.tokenizer(),
            model=plain.weights(),
            objectives={"pairs.out.weight": torch.ones(2, 4)},
        )
        members.append(Checkpoint.open(path))
    assert refused(lambda: average(members, tmp_path / "mean")) == (
        f"{members[1].path}: is not the same model as {members[0].path}",
        "average checkpoints of one run",
    )


def test_steps_are_sorted_as_numbers(tmp_path: Path) -> None:
    for step in (10_000_000, 9_999_999, 400):
        (tmp_path / f"checkpoints/step-{step:07d}").mkdir(parents=True)
    assert list(saved_checkpoints(tmp_path)) == [400, 9_999_999, 10_000_000]


def test_two_averages_into_one_folder_do_not_mix(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is finished first stays whole, and the other is refused."""
    save, mean = saving.save_checkpoint, tmp_path / "mean"

    def save_after_another(folder: Path, *rest: Any, **tensors: Any) -> Path:
        monkeypatch.setattr(saving, "save_checkpoint", save)
        average(open_members([run], 3), mean)
        return save(folder, *rest, **tensors)

    monkeypatch.setattr(saving, "save_checkpoint", save_after_another)
    assert refused(lambda: average(open_members([run], 2), mean)) == (
        f"{mean / 'checkpoints'}: another process has written it meanwhile",
        "choose another folder with --output",
    )
    assert [path.name for path in mean.iterdir()] == ["checkpoints"]
    assert Checkpoint.open(mean).verify() > 0


def test_an_average_that_was_killed_is_made_again(run: Path, tmp_path: Path) -> None:
    leftover = tmp_path / "mean/.checkpoints.1-00.new/step-0000010"
    shutil.copytree(run / "checkpoints/step-0000010", leftover)
    average(open_members([run], 2), tmp_path / "mean")
    assert [path.name for path in (tmp_path / "mean").iterdir()] == ["checkpoints"]


@pytest.mark.parametrize(
    "command",
    [
        ["inspect"],
        ["average", "--output", "mean"],
        ["export", "--output", "new"],
        ["serve"],
    ],
    ids=" ".join,
)
def test_a_hint_is_for_the_command_that_gives_it(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """These commands read no text, as `generate` does, and have no --input."""
    monkeypatch.chdir(tmp_path)
    Path("test.en").write_text("a dog\n")
    assert masscli([*command[:1], "test.en", *command[1:]]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: test.en: is a file, expected the folder of a run or of a checkpoint",
        "hint: name that folder; `masscli import` makes a run of the weights of another program",
    ]


def test_inspect_describes_a_checkpoint(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    succeed(["inspect", str(run)])
    shown = capsys.readouterr().out
    found = Checkpoint.open(run)
    count = sum(t.numel() for t in found.weights().values())
    assert (
        f"# model {count:,} parameters; heads of tasks 0\n# languages en, de; vocabulary {found.state.vocab_fingerprint[:12]}\n"
        in shown
    )
    assert shown.endswith(to_toml(to_dict(found.recipe)))


def test_nothing_in_a_checkpoint_is_executed(run: Path) -> None:
    kinds = {path.suffix for path in (run / "checkpoints").rglob("*") if path.is_file()}
    assert kinds == {".safetensors", ".toml", ".json", ".model"}
    path = run / "checkpoints/step-0000010/model.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    assert refused(lambda: last_checkpoint(run).model())[0].endswith(
        "damaged (its checksum differs)"
    )


def test_a_kill_while_a_checkpoint_is_replaced_leaves_the_old_or_the_new_one(
    run: Path, tmp_path: Path
) -> None:
    number = 0
    while True:
        folder = shutil.copytree(run, tmp_path / str(number), symlinks=True)
        old = last_checkpoint(folder)
        state = replace(old.state, targets=old.state.targets + 1)
        with pytest.MonkeyPatch.context() as patch:
            count_disk_calls(number, patch)
            try:
                saving.save_checkpoint(
                    folder / "checkpoints",
                    old.recipe,
                    state,
                    old.tokenizer(),
                    model=old.weights(),
                )
                break
            except Killed:
                pass
        saving.remove_partial_saves(folder)
        assert last_checkpoint(folder).state.targets in (
            old.state.targets,
            state.targets,
        )
        assert last_checkpoint(folder).verify()
        assert not [
            p.name for p in (folder / "checkpoints").iterdir() if p.name.startswith(".")
        ]
        number += 1
    assert last_checkpoint(folder).state.targets == state.targets
    assert number > 6
