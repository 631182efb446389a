"""Recipes that are installed with the package: listed, shown and run by name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from masscli.__main__ import run
from masscli.reporting import recipe_folders
from masscli.reporting.recipe_folders import run_recipe
from tests.commands import succeed


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two recipes, and one folder that is none."""
    for name, title in {
        "small": "# A small experiment",
        "other": "# Another one",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(f"{title}\n\nIts description.\n")
        (tmp_path / name / "1-first.sh").write_text(
            'echo "$SCALE $DATA $OUTPUT" > "$OUTPUT"\n'
        )
        (tmp_path / name / "2-fails.sh").write_text(
            'echo second >> "$OUTPUT"\nexit 3\n'
        )
        (tmp_path / name / "3-never.sh").write_text('echo third >> "$OUTPUT"\n')
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README.md").write_text("# No recipe\n")
    monkeypatch.setattr(recipe_folders, "recipes_folder", lambda: tmp_path)
    return tmp_path


def test_recipes_are_listed_with_their_titles(
    recipes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    succeed(["recipe", "list"])
    assert capsys.readouterr().out == "other  Another one\nsmall  A small experiment\n"


def test_a_recipe_is_shown_with_its_scripts(
    recipes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    succeed(["recipe", "show", "small"])
    out = capsys.readouterr().out
    assert out.startswith("# A small experiment\n\nIts description.\n")
    assert "# ---- 1-first.sh ----\necho" in out
    assert out.endswith(f"lie in {recipes / 'small'}\n")


def test_a_recipe_gets_its_scale_and_folders(
    recipes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The recipe stops at the script that fails, names it, and has its exit status."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpora").mkdir()
    command = ["recipe", "run", "small", "--scale", "tiny", "--data", "corpora"]
    with pytest.raises(SystemExit) as stop:
        run([*command, "--output", str(tmp_path / "written")])
    assert stop.value.code == 3
    assert (
        tmp_path / "written"
    ).read_text() == f"tiny corpora {tmp_path / 'written'}\nsecond\n"
    assert capsys.readouterr().err.splitlines() == [
        f"error: {recipes / 'small/2-fails.sh'}: ended with status 3",
        "hint: masscli recipe show small says which files it needs; the same command continues",
    ]
    # As a shell counts one that a signal has ended.
    (recipes / "small/2-fails.sh").write_text("kill -TERM $$\n")
    with pytest.raises(SystemExit) as stop:
        run([*command, "--output", str(tmp_path / "written")])
    assert stop.value.code == 143


@pytest.mark.parametrize("variable", [None, "DATA", "MASSCLI_DATA"])
def test_without_corpora_the_hint_says_how_to_name_them(
    variable: str | None,
    recipes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("DATA", "MASSCLI_DATA"):
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, "corpora")
    with pytest.raises(SystemExit):
        run(["recipe", "run", "small", "--output", str(tmp_path / "written")])
    hint = capsys.readouterr().err.splitlines()[1]
    assert ("with --data" in hint) == (variable is None)
    assert "masscli recipe show small" in hint


def test_a_copied_recipe_is_run_by_its_folder(
    recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The installed recipe of the same name comes first."""
    here = tmp_path / "here"
    shutil.copytree(recipes / "small", here / "mine")
    shutil.copytree(recipes / "small", here / "other")
    (here / "mine/2-fails.sh").unlink()
    monkeypatch.chdir(here)
    monkeypatch.delenv("DATA", raising=False)
    for name, written in (
        ("mine", "tiny  out\nthird\n"),
        ("other", "tiny  out\nsecond\n"),
    ):
        with pytest.raises(SystemExit):
            run(["recipe", "run", name, "--scale", "tiny", "--output", "out"])
        assert (here / "out").read_text() == written


@pytest.mark.parametrize("started", ["masscli", "python -m masscli"])
def test_scripts_run_the_masscli_that_runs_the_recipe(
    started: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It need not be on the PATH, as in an environment that is not activated, and another one may be."""
    program = Path(sys.executable).parent / "masscli"
    name = Path("masscli/__main__.py")
    if started == "masscli":
        name = program = tmp_path / "elsewhere" / "masscli"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(name)])
    other = tmp_path / "other" / "masscli"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}:/usr/bin:/bin")
    folder, output = tmp_path / "recipe", tmp_path / "out"
    folder.mkdir()
    (folder / "README.md").write_text("# Title\n")
    (folder / "1-step.sh").write_text('command -v masscli > "$OUTPUT"\n')
    assert run_recipe(str(folder), None, None, output) == 0
    assert output.read_text() == f"{program}\n"


def test_mistakes_are_named(recipes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, message in {
        ("run", "smal"): "no recipe called 'smal', did you mean 'small'?",
        (
            "run",
            "small",
            "--scale",
            "huge",
        ): "--scale huge: expected tiny, small, gpu, paper",
        (
            "run",
            "small",
            "--data",
            "nowhere",
        ): "--data nowhere: there is no such folder",
        (
            "list",
            "--scale",
            "tiny",
        ): "--scale, --data, --output: are for `masscli recipe run`",
        ("run",): "recipe run: expected 1 recipe, got 0",
    }.items():
        assert run(["recipe", *command]) == 2
        assert capsys.readouterr().err.splitlines()[0] == f"error: {message}"


def test_a_checkout_has_its_recipes_at_the_top() -> None:
    assert (recipe_folders.recipes_folder() / "quickstart.sh").is_file()


STEP = """exec {python} -c '
import os, signal, sys
def save(number, frame):
    open(os.environ["OUTPUT"], "a").write("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
os.kill(os.getppid(), signal.SIGTERM)
signal.pause()'
"""
"""A step that sends SIGTERM to the command that has started it, waits to be stopped, and then saves."""


@pytest.mark.parametrize(
    ("step", "saved"),
    [(STEP.format(python=sys.executable), "saved"), ("kill -TERM $PPID\n", "")],
    ids=["it saves", "it has ended by itself"],
)
def test_a_signal_stops_the_step_and_waits_until_it_has_saved(
    step: str, saved: str, tmp_path: Path
) -> None:
    folder, output = tmp_path / "recipe", tmp_path / "out"
    folder.mkdir()
    output.touch()
    (folder / "README.md").write_text("# Title\n")
    (folder / "1-step.sh").write_text(step)
    (folder / "2-never.sh").write_text('echo second >> "$OUTPUT"\n')
    command = [sys.executable, "-m", "masscli", "recipe", "run", str(folder)]
    result = subprocess.run(
        [*command, "--output", str(output)], capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (143, "stopped by SIGTERM\n")
    assert output.read_text() == saved
