"""What keeps the events of a run: TensorBoard, Weights & Biases, plug-ins, and samples in the log."""

from __future__ import annotations

import json
import math
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.progress import Progress

from masscli.__main__ import run
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.run_state import RunState
from masscli.checkpoint.saving import save_checkpoint
from masscli.cli import training_events
from masscli.core.appended_files import acquire_lock
from masscli.core.errors import MasscliError
from masscli.reporting import event_sinks
from masscli.training.events import EVENT_SINKS, Evaluated, Event
from masscli.training.recipe import Recipe

SMALL = (
    "--dim=16 --ffn-dim=32 --heads=2 --encoder-layers=1 "
    "--decoder-layers=1 --num-workers=0"
).split()


def train(toy: Path, folder: Path, *args: str) -> int:
    command = [
        *f"finetune {toy} --task=translate -s en -t de".split(),
        *SMALL,
        "--precision=fp32",
    ]
    return run(
        [
            *command,
            *(
                "--max-update=4 --save-interval-updates=2 --log-interval=1 "
                f"--save-dir {folder}"
            ).split(),
            *args,
        ]
    )


def logged(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


class Kept:
    """A plug-in that keeps events in a list."""

    events: ClassVar[list[Event]] = []
    is_open = False

    @classmethod
    def open(cls, recipe: Recipe) -> Kept:
        assert recipe.save_dir is not None
        cls.is_open = True
        return cls()

    def write(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        type(self).is_open = False


def test_a_plug_in_gets_the_events_of_the_log(
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_sync: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(EVENT_SINKS, "names", lambda: {"kept": f"{__name__}:Kept"})
    monkeypatch.setattr(Kept, "events", [])
    assert train(toy, tmp_path / "run", "--event-sinks=kept") == 0
    names = [type(event).__name__.lower() for event in Kept.events]
    lines = (tmp_path / "run/log.jsonl").read_text().splitlines()
    assert names == [json.loads(line)["event"] for line in lines] and not Kept.is_open
    assert train(toy, tmp_path / "other", "--event-sinks=keep") == 2
    assert (
        "--event-sinks: no event sink called 'keep', did you mean 'kept'?"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "other").exists()


class Failing(Kept):
    """A plug-in that fails at one event, and whose end would then fail as well."""

    fails_at: ClassVar[str] = ""
    has_failed = False

    def write(self, event: Event) -> None:
        assert not self.has_failed
        super().write(event)
        if f"{type(event).__name__} {event.step}" == self.fails_at:
            self.has_failed = True
            raise ZeroDivisionError(self.fails_at)

    def close(self) -> None:
        assert not self.has_failed


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[Failing]:
    monkeypatch.setattr(
        EVENT_SINKS, "names", lambda: {"failing": f"{__name__}:Failing"}
    )
    monkeypatch.setattr(Kept, "events", [])
    return Failing


def last_state(folder: Path) -> RunState:
    return Checkpoint.open(folder / "checkpoints/last").state


def weights(folder: Path) -> bytes:
    return (folder / "checkpoints/last/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("fails_at", "saved"),
    [("Stepped 3", 3), ("Evaluated 2", 2), ("Saved 2", 2), ("Finished 4", 4)],
)
def test_a_sink_that_fails_loses_no_update(
    fails_at: str,
    saved: int,
    failing: type[Failing],
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_sync: None,
) -> None:
    """The run is saved before the error is raised, other sinks get all events, and the run can be continued."""
    folder = tmp_path / "run"
    monkeypatch.setattr(failing, "fails_at", fails_at)
    with pytest.raises(ZeroDivisionError, match=fails_at):
        train(toy, folder, "--event-sinks=failing")
    steps = [event["step"] for event in logged(folder, "saved")]
    assert steps[-1] == saved and last_state(folder).step == saved
    (finished,) = logged(folder, "finished")
    is_whole = fails_at == "Finished 4"
    assert is_whole or finished["reason"] == "stopped by an error of an event sink"
    assert train(toy, folder) == train(toy, tmp_path / "whole") == 0
    assert weights(folder) == weights(tmp_path / "whole")
    metrics = [event["metrics"] for event in logged(folder, "evaluated")]
    whole = [event["metrics"] for event in logged(tmp_path / "whole", "evaluated")]
    assert metrics == whole and len(whole) == 2


def test_a_sink_and_a_checkpoint_that_fail_are_both_reported(
    failing: type[Failing],
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_sync: None,
) -> None:
    """As on a full disk."""

    def full(*arguments: object, **tensors: object) -> Path:
        raise MasscliError("step-3: cannot be written (No space left on device)")

    monkeypatch.setattr(failing, "fails_at", "Stepped 3")
    monkeypatch.setattr("masscli.checkpoint.saving.save_checkpoint", full)
    with pytest.raises(ZeroDivisionError) as caught:
        train(
            toy,
            tmp_path / "run",
            "--event-sinks=failing",
            "--save-interval-updates=4",
        )
    assert caught.value.__notes__ == [
        "the updates since the last checkpoint are lost: "
        "step-3: cannot be written (No space left on device)"
    ]


def test_a_console_that_fails_loses_no_update(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_sync: None
) -> None:
    """As if the reader of a pipe had gone; the folder is locked until the checkpoint is complete."""
    show = training_events._print

    def fail(progress: Progress, line: str) -> None:
        if line.startswith("3: "):
            raise BrokenPipeError
        show(progress, line)

    monkeypatch.setattr(training_events, "_print", fail)
    locked = []

    def save(folder: Path, *arguments: Any, **tensors: Any) -> Path:
        with pytest.raises(BlockingIOError):
            acquire_lock(tmp_path / "run/.lock")
        locked.append(folder)
        return save_checkpoint(folder, *arguments, **tensors)

    monkeypatch.setattr("masscli.checkpoint.saving.save_checkpoint", save)
    assert train(toy, tmp_path / "run") == 141
    assert last_state(tmp_path / "run").step == 3 and len(locked) == 2


def test_weights_and_biases(
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_sync: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Against a stand-in with the interface of wandb.init, Run.log and Run.finish: nothing is sent in a test."""
    seen: dict[str, Any] = {"logged": []}

    class Run:
        def log(self, values: dict[str, float], step: int) -> None:
            seen["logged"].append((step, values))

        def finish(self) -> None:
            seen["finished"] = True

    def init(**settings: Any) -> Run:
        seen["settings"] = settings
        return Run()

    module = types.ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    assert train(toy, tmp_path / "run", "--wandb-project=toys") == 0
    assert (
        seen["settings"]["project"],
        seen["settings"]["name"],
        seen["finished"],
    ) == ("toys", "run", True)
    assert seen["settings"]["config"]["optim"]["lr"] > 0
    losses = {
        step: values["stepped/translate-en-de.translate"]
        for step, values in seen["logged"]
        if "stepped/lr" in values
    }
    assert losses == {
        event["step"]: event["losses"]["translate-en-de.translate"]
        for event in logged(tmp_path / "run", "stepped")
    }
    first = seen["settings"]
    assert train(toy, tmp_path / "run", "--wandb-project=toys", "--max-update=6") == 0
    assert (
        seen["settings"]["id"] == first["id"] and seen["settings"]["resume"] == "allow"
    )
    assert train(toy, tmp_path / "another", "--wandb-project=toys") == 0
    assert seen["settings"]["id"] != first["id"]
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert train(toy, tmp_path / "without", "--wandb-project=toys") == 2
    assert not (tmp_path / "without").exists()
    assert "hint: pip install 'masscli[wandb]'" in capsys.readouterr().err


def test_tensorboard(toy: Path, tmp_path: Path, no_sync: None) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra masscli[tb]")
    (tmp_path / "file").touch()
    file = f"--tensorboard-logdir={tmp_path / 'file'}"
    assert train(toy, tmp_path / "refused", file) == 2
    assert train(toy, tmp_path / "run", "--event-sinks=tensorboard") == 0
    assert list((tmp_path / "run/tensorboard").glob("events.*"))


def test_the_log_keeps_the_same_lines_at_every_validation(
    toy: Path, tmp_path: Path, no_sync: None
) -> None:
    assert train(toy, tmp_path / "run", "--eval-bleu", "--eval-samples=3") == 0
    first, second = logged(tmp_path / "run", "evaluated")
    sources = (toy.parent / "valid.en").read_text().splitlines()
    references = (toy.parent / "valid.de").read_text().splitlines()
    for event in (first, second):
        assert [sample["task"] for sample in event["samples"]] == ["bleu.en-de"] * 3
        assert [sample["source"] for sample in event["samples"]] == [
            sources[0],
            sources[8],
            sources[16],
        ]
        assert [sample["reference"] for sample in event["samples"]] == [
            references[0],
            references[8],
            references[16],
        ]
    assert all(isinstance(sample["output"], str) for sample in second["samples"])
    assert train(toy, tmp_path / "none", "--eval-bleu", "--eval-samples=0") == 0
    assert logged(tmp_path / "none", "evaluated")[0]["samples"] == []


def test_numbers_have_the_names_of_the_log() -> None:
    from masscli.training.events import Evaluated, Sample

    event = Evaluated(
        3, {"loss": 1.5}, {"bleu": "x"}, 2.0, (Sample("bleu", "a", "b", "c"),)
    )
    assert event_sinks.numbers(event) == {
        "evaluated/loss": 1.5,
        "evaluated/seconds": 2.0,
    }


def test_numbers_that_json_lacks_are_null_in_the_log(tmp_path: Path) -> None:
    """Python would write NaN and Infinity, which other readers of JSON refuse."""
    log = event_sinks.LogFile(tmp_path / "log.jsonl", 0)
    metrics = {"loss": math.nan, "ppl": math.inf, "bleu": 1.5}
    log.write(Evaluated(3, metrics, {}, 0.5))
    log.close()

    def refuse(word: str) -> None:
        raise AssertionError(word)

    line = json.loads((tmp_path / "log.jsonl").read_text(), parse_constant=refuse)
    assert line["metrics"] == {"loss": None, "ppl": None, "bleu": 1.5}
    assert (line["event"], line["step"]) == ("evaluated", 3)
