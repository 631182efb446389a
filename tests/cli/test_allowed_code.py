"""A recipe that came with a checkpoint or in a file cannot make masscli import a module."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from masscli.__main__ import run
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.state_file import read_state_file, write_state_file
from masscli.cli.app import build_command
from masscli.core.files import sha256_of
from tests.commands import succeed
from tests.toy import recipe
from tests.training.test_trainer import train

CODE = """
from pathlib import Path
from masscli.objectives.translate.options import TranslateOptions

Path("{trace}").write_text("the module was imported")

class {name}(TranslateOptions):
    pass
"""


@pytest.fixture(scope="module")
def trained(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a built-in objective, whose recipe the tests change."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    streams = {"pairs": {"dataset": "en-de", "objective": {"name": "translate"}}}
    train(recipe(toy, folder, "train.max_update=1", streams=streams))
    shutil.copy(folder / "checkpoints/last/recipe.toml", folder)
    return folder


def rename_objective(run_folder: Path, name: str) -> None:
    """Let the recipes of a run name another objective, with right checksums."""
    for path in run_folder.rglob("recipe.toml"):
        path.write_text(
            path.read_text().replace('name = "translate"', f'name = "{name}"')
        )
        if (path.parent / "state.json").exists():
            contents = read_state_file(path.parent)
            files = {**contents.files, "recipe.toml": sha256_of(path)}
            write_state_file(path.parent, replace(contents, files=files))


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path with a module that leaves a trace, and a run whose recipe names it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    shutil.copytree(trained, tmp_path / "run", symlinks=True)
    (tmp_path / "in.txt").write_text("ba bi\n")
    return tmp_path


def plant(place: Path, module: str) -> str:
    """Write a module whose import leaves the file `trace`, and let the run name it; return the name."""
    (place / f"{module}.py").write_text(CODE.format(trace=place / "trace", name="Mine"))
    rename_objective(place / "run", f"{module}:Mine")
    return f"{module}:Mine"


COMMANDS = {
    "inspect": ["inspect", "run"],
    "verify": ["inspect", "run", "--verify"],
    "generate": ["generate", "run"],
    "predict": ["predict", "run"],
    "average": ["average", "run", "--output", "averaged"],
    "export": ["export", "run", "--output", "exported"],
    "dictionary": ["dictionary", "run", "--langs", "en,de"],
    "interactive": ["interactive", "run"],
    "ensemble": ["generate", "run", "run"],
    "score": ["score", "run", "--gen-subset", "valid"],
    "compare": ["compare", "run", "run", "--input", "in.txt"],
    "filter": "filter in.txt in.txt -s en -t de --forward run -o kept".split(),
    "mine": ["mine", "run", "-i", "in.txt", "-j", "in.txt", "-s", "en", "-t", "de"],
    "show": ["recipe", "show", "run"],
    "check": ["recipe", "check", "run/recipe.toml"],
    "diff": ["recipe", "diff", "run", "run"],
    "init": "finetune DATA --task translate -s en -t de --init-from run".split(),
    "go-on": "finetune DATA --task translate -s en -t de --save-dir run".split(),
    "config": ["pretrain", "DATA", "--config", "run/recipe.toml"],
    "set": "pretrain DATA --set stream.a.dataset=en --set stream.a.objective.name=NAME".split(),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_imports_modules_that_a_recipe_names(
    command: str, place: Path, toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = plant(place, f"planted_{command.replace('-', '_')}")
    args = [
        {"DATA": str(toy)}.get(arg, arg).replace("NAME", name)
        for arg in COMMANDS[command]
    ]
    assert run(args) == 2
    *errors, hint = capsys.readouterr().err.splitlines()
    end = (
        f"objective '{name}' is neither built in nor installed, so its code is not run"
    )
    assert errors[-1].startswith("error: ") and errors[-1].endswith(end)
    assert hint == f"hint: if you trust this code, add --allow-code {name}"
    assert not (place / "trace").exists()
    assert not {path.name for path in place.iterdir()} & {
        "averaged",
        "exported",
        "runs",
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_the_hint_can_be_followed(command: str, place: Path) -> None:
    name, *args = COMMANDS[command]
    options = {
        option
        for parameter in build_command(name, args).params
        for option in parameter.opts
    }
    assert "--allow-code" in options


@pytest.mark.parametrize("command", ["inspect", "show", "check", "diff"])
def test_modules_that_the_command_line_names_are_imported(
    command: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = plant(place, f"trusted_{command}")
    succeed([*COMMANDS[command], f"--allow-code={name}"])
    assert (place / "trace").exists()


def test_another_name_allows_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(place, "planted_other")
    assert run(["inspect", "run", "--allow-code", "planted_other:Other"]) == 2
    assert not (place / "trace").exists()


def test_the_error_names_the_file(place: Path) -> None:
    name = plant(place, "planted_named")
    checkpoint = (place / "run/checkpoints/last").resolve()
    with pytest.raises(Exception) as error:
        Checkpoint.open(place / "run")
    assert str(error.value).startswith(
        f"{checkpoint}/recipe.toml: stream.pairs.objective.name: objective '{name}'"
    )


def test_metadata_next_to_a_checkpoint_does_not_register_plug_ins(place: Path) -> None:
    """`python -m` puts the current folder on the import path, but what lies there is not an installed package."""
    (place / "planted_package.py").write_text(
        CODE.format(trace=place / "trace", name="Mine")
    )
    (place / "planted-1.dist-info").mkdir()
    (place / "planted-1.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: planted\nVersion: 1\n"
    )
    (place / "planted-1.dist-info/entry_points.txt").write_text(
        "[masscli.objectives]\nplanted = planted_package:Mine\n"
    )
    rename_objective(place / "run", "planted")
    command = [sys.executable, "-m", "masscli", "inspect", "run"]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=place, env={**os.environ}
    )
    assert result.returncode == 2, result.stderr
    assert "no objective called 'planted'" in result.stderr
    assert not (place / "trace").exists()


def test_a_name_that_allows_nothing_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["inspect", "run", "--allow-code", "nowhere"]) == 2
    assert capsys.readouterr().err == (
        "error: --allow-code: expected MODULE:CLASS, got 'nowhere'\nhint: masscli inspect --help\n"
    )
