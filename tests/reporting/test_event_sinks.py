"""What keeps the events of a run: TensorBoard, Weights & Biases, plug-ins, and samples in the log."""

from __future__ import annotations

import json
import math
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest

from masscli.__main__ import run
from masscli.reporting import event_sinks
from masscli.training.events import EVENT_SINKS, Evaluated, Event
from masscli.training.recipe import Recipe

SMALL = [
    "--dim=16",
    "--ffn-dim=32",
    "--heads=2",
    "--encoder-layers=1",
    "--decoder-layers=1",
    "--num-workers=0",
]


def train(toy: Path, folder: Path, *args: str) -> int:
    command = [
        "finetune",
        str(toy),
        "--task=translate",
        "-s",
        "en",
        "-t",
        "de",
        *SMALL,
        "--precision=fp32",
    ]
    return run(
        [
            *command,
            "--max-update=4",
            "--save-interval-updates=2",
            "--log-interval=1",
            "--save-dir",
            str(folder),
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
