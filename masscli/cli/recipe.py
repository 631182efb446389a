"""List, show and run recipes, and check and compare settings.

list: the recipes that are installed with masscli, with their titles.

show: the description and the scripts of a recipe; or, for a TOML file or a run, all its settings, with a
mark after those that have their default value.

run: the scripts of a recipe, or of your copy of its folder. Finished steps are skipped, so the same
command continues a recipe that was stopped.

check: whether TOML files are valid settings for --config; every error is reported.

diff: the settings in which two TOML files or runs differ.

Examples:
  masscli recipe list
  masscli recipe show enfr
  masscli recipe run enfr --scale tiny --data corpora --output runs/enfr
  masscli recipe show runs/mass
  masscli recipe check my.toml
  masscli recipe diff runs/first runs/second
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from masscli.core.config import (
    ConfigError,
    Problem,
    from_dict,
    suggest,
    to_dict,
    to_toml,
)
from masscli.core.errors import MasscliError
from masscli.models.presets import resolve
from masscli.reporting.recipe_folders import (
    SCALES,
    find_recipe,
    list_recipes,
    run_recipe,
    steps_of,
)
from masscli.training.recipe import Recipe
from masscli.training.recipe_file import read_toml

ACTIONS = {"list": 0, "show": 1, "run": 1, "check": None, "diff": 2}
"""Each action with the number of RECIPE arguments that it takes; None means one or more."""


def run(
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="list, show, run, check or diff.")
    ],
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE",
            help="Name, TOML file or folder of a run.",
            show_default=False,
        ),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="CHOICE",
            help=f"run: size of the experiment [{', '.join(SCALES)}] (default: $SCALE, else the recipe's).",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="run: folder with the corpora (default: $DATA or $MASSCLI_DATA).",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="run: folder for all results (default: $OUTPUT, else the recipe's).",
        ),
    ] = None,
) -> None:
    """Carry out the action (list, show, run, check or diff) with the given recipes."""
    given = recipes or []
    _check_arguments(action, given)
    if action != "run" and (scale or data or output):
        raise MasscliError(
            "--scale, --data, --output: are for `masscli recipe run`", "leave them out"
        )
    match action:
        case "list":
            titles = list_recipes()
            width = max((len(name) for name in titles), default=0)
            for name, title in titles.items():
                print(f"{name.ljust(width)}  {title}")
        case "show":
            _show(given[0])
        case "run":
            sys.exit(run_recipe(given[0], scale, data, output))
        case "check":
            _check([Path(path) for path in given])
        case "diff":
            _diff(Path(given[0]), Path(given[1]))


def _check_arguments(action: str, recipes: Sequence[str]) -> None:
    """Raise MasscliError for an unknown action or a wrong number of recipes."""
    if action not in ACTIONS:
        raise MasscliError(
            f"recipe: no action called {action!r}{suggest(action, list(ACTIONS))}",
            "masscli recipe --help",
        )
    expected = ACTIONS[action]
    if expected is None and not recipes:
        raise MasscliError(
            f"recipe {action}: expected at least one recipe, got 0",
            "masscli recipe --help",
        )
    if expected is not None and len(recipes) != expected:
        noun = "recipe" if expected == 1 else "recipes"
        raise MasscliError(
            f"recipe {action}: expected {expected} {noun}, got {len(recipes)}",
            "masscli recipe --help",
        )


def _show(recipe: str) -> None:
    """Print the description and scripts of an installed recipe, or the settings of a TOML file or a run."""
    path = Path(recipe)
    # A user's file or folder has priority over an installed recipe, whose name has no folder or suffix.
    if recipe == path.stem and not path.exists():
        folder = find_recipe(recipe)
        print((folder / "README.md").read_text(encoding="utf-8").rstrip())
        for script in steps_of(folder):
            print(
                f"\n# ---- {script.name} ----\n{script.read_text(encoding='utf-8').rstrip()}"
            )
        print(f"\n# The scripts and the settings of each scale lie in {folder}")
        return
    print(_with_defaults_marked(to_dict(_decode(path))), end="")


def _diff(first_path: Path, second_path: Path) -> None:
    """Print each setting in which two TOML files or runs differ, as `key: first -> second`."""
    first = dict(_leaves(to_dict(_decode(first_path))))
    second = dict(_leaves(to_dict(_decode(second_path))))
    for key in dict.fromkeys([*first, *second]):
        if first.get(key) != second.get(key):
            print(f"{key}: {_literal(first, key)} -> {_literal(second, key)}")


def _check(paths: Sequence[Path]) -> None:
    """Print `ok` for each file with valid settings; raise one ConfigError with all mistakes of the others."""
    problems: list[Problem] = []
    for path in paths:
        try:
            _decode(path)
            print(f"{path}: ok")
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems, hint="masscli pretrain --help lists every key")


def _decode(path: Path) -> Recipe:
    """Return the recipe in a TOML file or a run, with the model sizes that its `arch` stands for.

    Raises ConfigError, whose problems begin with the name of the file, for invalid settings.
    """
    try:
        return _complete(read_toml(path))
    except ConfigError as error:
        # Several files may be checked at once, so each problem names its own.
        problems = [
            Problem(str(path), str(problem), problem.hint) for problem in error.problems
        ]
        raise ConfigError(*problems, hint=error.hint) from None


def _complete(settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe with these settings, with the model sizes that its `arch` stands for.

    Raises ConfigError for invalid settings.
    """
    recipe = from_dict(Recipe, settings)
    # Streams that need different stacks need a model with both.
    stacks = {stream.objective.stacks for stream in recipe.stream.values()}
    needed = stacks.pop() if len(stacks) == 1 else "encoder-decoder"
    return replace(recipe, model=resolve(settings.get("model", {}), needed))


def _defaults_for(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default values, by dotted key, of a recipe with the size and the streams of `settings`.

    Size, datasets and objectives themselves have none. The recipe of a run contains every setting, so what
    a file contains does not say what its user chose.
    """
    streams = {
        name: {
            "dataset": stream["dataset"],
            "objective": {"name": stream["objective"]["name"]},
        }
        for name, stream in settings.get("stream", {}).items()
    }
    chosen = {"model": {"arch": settings["model"]["arch"]}, "stream": streams}
    defaults = dict(_leaves(to_dict(_complete(chosen))))
    for key, _ in _leaves(chosen):
        del defaults[key]
    return defaults


def _with_defaults_marked(settings: Mapping[str, Any]) -> str:
    """Return settings as TOML, with the comment `# default` after those that have their default value."""
    values, defaults = dict(_leaves(settings)), _defaults_for(settings)
    table, lines = "", []
    # In TOML a line [table] is followed by the keys of this table.
    for line in to_toml(settings).split("\n"):
        if line.startswith("["):
            table = line.strip("[]") + "."
        key, equals, _ = line.partition(" = ")
        name = table + key
        if equals and name in defaults and defaults[name] == values[name]:
            line += "  # default"
        lines.append(line)
    return "\n".join(lines)


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of each setting in nested tables; keys begin with `prefix`."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _literal(settings: Mapping[str, Any], key: str) -> str:
    if key not in settings:
        return "(not set)"
    return json.dumps(settings[key], ensure_ascii=False)
