"""Training from Python: the same run as the command makes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import masscli
from masscli.api.training import open_run
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.run_state import RunState
from masscli.checkpoint.saving import save_new_run
from masscli.core import memory
from masscli.core.config import to_dict, to_toml
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.training.setup.compose import compose
from masscli.training.setup.request import TrainRequest
from tests.commands import succeed

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")

SMALL = {
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dim": 16,
    "ffn_dim": 32,
    "heads": 2,
    "max_positions": 32,
}
TRAIN = {
    "max_update": 6,
    "max_tokens": 150,
    "num_workers": 0,
    "precision": "fp32",
    "log_interval": 2,
}


def small_run(data: Path, folder: Path) -> dict[str, Any]:
    """Return the options of a short run on `data`."""
    return {"data": str(data), "save_dir": str(folder), "model": SMALL, "train": TRAIN}


def test_a_run_from_python_equals_that_of_the_command(
    toy: Path, tmp_path: Path
) -> None:
    options = small_run(toy, tmp_path / "python")
    recipe = masscli.compose_recipe(
        options, objective="mass", objective_options={"k": 0.4}
    )
    events = list(masscli.pretrain(recipe))
    assert [event.step for event in events if type(event).__name__ == "Stepped"] == [
        1,
        2,
        4,
        6,
    ]
    flags = ["--k", "0.4"]
    for key, value in {**SMALL, **TRAIN}.items():
        flags += [f"--{key.replace('_', '-')}", str(value)]
    command = ["--objective", "mass", "--save-dir", str(tmp_path / "command")]
    succeed(["pretrain", str(toy), *command, *flags])
    mine, theirs = (Checkpoint.open(tmp_path / name) for name in ("python", "command"))
    assert mine.checksums["model.safetensors"] == theirs.checksums["model.safetensors"]
    names = ["log.jsonl", "recipe.toml"]
    assert all((tmp_path / "python" / name).exists() for name in names)
    # The stored recipe is complete, and goes on as it is.
    again = masscli.compose_recipe(tmp_path / "python" / "recipe.toml")
    assert again == recipe
    assert list(masscli.pretrain(again)) == []


def test_only_the_command_tunes_the_heap(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    class Library:
        def __init__(self, name: None) -> None:
            opened.append(name)

        def mallopt(self, parameter: int, value: int) -> None:
            pass

    monkeypatch.setattr(memory, "ctypes", SimpleNamespace(CDLL=Library))
    monkeypatch.setattr(memory, "_ask_for_large_pages", lambda libc: None)
    monkeypatch.setattr(memory.sys, "platform", "linux")
    once = {**TRAIN, "max_update": 1}
    options = {"data": str(toy), "save_dir": str(tmp_path / "python")}
    recipe = masscli.compose_recipe(
        {**options, "model": SMALL, "train": once}, objective="mass"
    )
    list(masscli.pretrain(recipe))
    assert opened == []
    succeed(["pretrain", "--config", str(tmp_path / "python/recipe.toml")])
    assert opened == [None]


def test_a_run_stops_when_its_events_are_not_read_and_can_be_continued(
    toy: Path, tmp_path: Path
) -> None:
    options = small_run(toy, tmp_path / "run")
    options["checkpoint"] = {"save_interval_updates": 2}
    recipe = masscli.compose_recipe(options, objective="mass")
    events = masscli.pretrain(recipe)
    for event in events:
        if type(event).__name__ == "Saved":
            break
    events.close()
    later = list(masscli.pretrain(recipe))
    assert min(event.step for event in later) == 3
    whole = replace(recipe, save_dir=tmp_path / "whole")
    list(masscli.pretrain(whole))
    checksums = [
        Checkpoint.open(tmp_path / name).checksums for name in ("run", "whole")
    ]
    assert checksums[0]["model.safetensors"] == checksums[1]["model.safetensors"]


def test_a_program_that_fails_while_it_trains_loses_no_update(
    toy: Path, tmp_path: Path
) -> None:
    options = small_run(toy, tmp_path / "run")
    options["checkpoint"] = {"save_interval_updates": 100}
    recipe = masscli.compose_recipe(options, objective="mass")
    with pytest.raises(ZeroDivisionError):
        for event in masscli.pretrain(recipe):
            if event.step == 4:
                raise ZeroDivisionError
    assert Checkpoint.open(tmp_path / "run/checkpoints/last").state.step == 4
    assert [event.step for event in masscli.pretrain(recipe)] == [5, 6, 6, 6, 6]


KEEPING = """
import sys
import masscli

events = masscli.pretrain(masscli.compose_recipe(sys.argv[1]))
for event in events:
    if event.step == 4:
        break
"""
"""A program that leaves the loop of events but keeps the iterator until it exits."""


def test_a_program_that_exits_with_an_unfinished_iterator_loses_no_update(
    toy: Path, tmp_path: Path
) -> None:
    """Python closes such an iterator only when PyTorch can no longer be used."""
    options = small_run(toy, tmp_path / "run")
    options["checkpoint"] = {"save_interval_updates": 100}
    recipe = masscli.compose_recipe(options, objective="mass")
    (tmp_path / "a.toml").write_text(to_toml(to_dict(recipe)), encoding="utf-8")
    command = [sys.executable, "-c", KEEPING, str(tmp_path / "a.toml")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert Checkpoint.open(tmp_path / "run/checkpoints/last").state.step == 4


def test_a_run_whose_folder_is_removed_ends_without_another_error(
    toy: Path, tmp_path: Path
) -> None:
    options = small_run(toy, tmp_path / "run")
    request = TrainRequest(recipe_options=options, objective="mass")
    with pytest.raises(ZeroDivisionError), open_run(compose(request)):
        shutil.rmtree(tmp_path / "run")
        raise ZeroDivisionError
    assert not (tmp_path / "run").exists()


def test_training_works_in_a_thread(toy: Path, tmp_path: Path) -> None:
    options = small_run(toy, tmp_path / "run")
    recipe = masscli.compose_recipe(options, objective="mass")
    events: list[object] = []
    thread = threading.Thread(target=lambda: events.extend(masscli.pretrain(recipe)))
    thread.start()
    thread.join()
    assert type(events[-1]).__name__ == "Finished"


def test_a_named_size_without_its_sizes_is_refused(toy: Path) -> None:
    recipe = masscli.Recipe(data=toy, model=ModelConfig(arch="base"))
    with pytest.raises(
        MasscliError, match=r"model\.arch base: the recipe has the sizes of tiny"
    ):
        next(masscli.pretrain(recipe))
    options = {"data": str(toy), "model": {"arch": "base", "dropout": 0.3}}
    composed = masscli.compose_recipe(options, objective="mass")
    assert (composed.model.dim, composed.model.dropout) == (512, 0.3)


def test_values_that_are_not_recipes_are_named(toy: Path) -> None:
    for given, kind in (({"data": str(toy)}, "dict"), ("recipe.toml", "str")):
        with pytest.raises(
            TypeError, match=f"^recipe is of type {kind}; masscli.compose_recipe makes"
        ):
            list(masscli.pretrain(given))  # type: ignore[arg-type]


def test_options_without_effect_are_named(toy: Path) -> None:
    options = {
        "data": str(toy),
        "optim": {"warmup_init_lr": 0.1, "lr_scheduler": "constant"},
    }
    with pytest.warns(UserWarning, match=r"optim\.warmup_init_lr has no effect"):
        masscli.compose_recipe(options, objective="mass")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.toml", "there is no such file"),
        ("broken.toml", "Invalid value"),
        ("deep.toml", "nested more than"),
    ],
)
def test_a_recipe_file_that_cannot_be_read_is_named(
    name: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.toml").write_text("model = [")
    (tmp_path / "deep.toml").write_text(f"model = {'[' * 5000}{']' * 5000}")
    with pytest.raises(
        MasscliError, match=f"^{re.escape(str(tmp_path / name))}: .*{message}"
    ):
        masscli.compose_recipe(tmp_path / name)


def test_imported_weights_get_a_lower_learning_rate(toy: Path, tmp_path: Path) -> None:
    """The rate for BERT-base, of width 768, is one of those that its authors recommend."""
    list(
        masscli.pretrain(
            masscli.compose_recipe(small_run(toy, tmp_path / "own"), objective="mass")
        )
    )
    own = Checkpoint.open(tmp_path / "own")
    save_new_run(
        tmp_path / "imported",
        own.recipe,
        RunState(vocab_fingerprint=own.state.vocab_fingerprint),
        own.tokenizer(),
        model=own.model().state_dict(),
    )

    def rate(name: str, **optim: float) -> float | None:
        options = small_run(toy, tmp_path / "tuned") | {"optim": optim}
        options["init_from"] = str(tmp_path / name)
        return masscli.compose_recipe(options, objective="mass").optim.lr

    assert rate("own") == pytest.approx(5e-4 * 512 / 16)
    assert rate("imported") == pytest.approx(5e-5 * 768 / 16)
    assert rate("imported", lr=0.25) == 0.25

    # Such as an encoder that first learns from text of its domain, and then a task.
    options = small_run(toy, tmp_path / "adapted") | {
        "init_from": str(tmp_path / "imported")
    }
    list(masscli.pretrain(masscli.compose_recipe(options, objective="mass")))
    assert rate("adapted") == rate("imported")
