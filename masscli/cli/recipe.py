"""List, show, check and compare recipes.

list: recipes under the given folders (default: recipes), each with the first line of its comment.

show: a recipe with every key, those that it leaves to the default marked.

check: whether recipes can be read; every mistake is named.

diff: the keys in which two recipes differ.

A recipe is a TOML file for --config, or the folder of a run, whose recipe is stored in it.

Examples:
  masscli recipe list
  masscli recipe show runs/mass
  masscli recipe check my.toml
  masscli recipe diff runs/first runs/second
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from masscli.cli.training_request import read
from masscli.core.config import ConfigError, Problem, from_dict, suggest, to_dict, to_toml
from masscli.core.errors import MasscliError
from masscli.models.presets import resolve
from masscli.training.recipe import Recipe

ACTIONS = {"list": None, "show": 1, "check": None, "diff": 2}
"""Each with the number of recipes it wants, where that is fixed."""


def run(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="list, show, check or diff.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RECIPE", help="TOML file or folder of a run.", show_default=False),
    ] = None,
) -> None:
    """Dispatch to the action."""
    if action not in ACTIONS:
        raise MasscliError(
            f"recipe: no action called {action!r}{suggest(action, list(ACTIONS))}", "masscli recipe --help"
        )
    given = paths or []
    wanted = ACTIONS[action]
    if wanted is not None and len(given) != wanted:
        raise MasscliError(
            f"recipe {action}: expected {wanted} recipe{'s' * (wanted > 1)}, got {len(given)}",
            "masscli recipe --help",
        )
    match action:
        case "list":
            _list(given or [Path("recipes")])
        case "show":
            raw = read(_file(given[0]))
            print(_marked(to_dict(_decode(given[0])), raw), end="")
        case "check":
            _check(given)
        case "diff":
            first, second = (dict(_leaves(to_dict(_decode(path)))) for path in given)
            for key in dict.fromkeys([*first, *second]):
                if first.get(key) != second.get(key):
                    print(f"{key}: {_literal(first, key)} -> {_literal(second, key)}")


def _list(folders: Sequence[Path]) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise MasscliError(f"{folder}: no such folder", "masscli recipe list FOLDER")
        found = [
            path
            for path in sorted(folder.rglob("*.toml"))
            if "checkpoints" not in path.parts and _is_recipe(path)
        ]
        if not found:
            raise MasscliError(
                f"{folder}: holds no recipe", "a recipe is a TOML file for --config, or the folder of a run"
            )
        for path in found:
            first = path.read_text(encoding="utf-8").split("\n", 1)[0]
            print(f"{path}\t{first.removeprefix('#').strip() if first.startswith('#') else ''}")


def _is_recipe(path: Path) -> bool:
    """Whether a TOML file has a section of a recipe, and is not another tool's settings; what cannot be read may be one: `check` tells."""
    try:
        return not read(path).keys().isdisjoint(field.name for field in fields(Recipe))
    except MasscliError:
        return True


def _check(paths: Sequence[Path]) -> None:
    if not paths:
        raise MasscliError("recipe check: expected at least one recipe, got 0", "masscli recipe --help")
    problems: list[Problem] = []
    for path in paths:
        try:
            _decode(path)
            print(f"{path}: ok")
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems, hint="masscli pretrain --help lists every key")


def _file(path: Path) -> Path:
    return path / "recipe.toml" if path.is_dir() else path


def _decode(path: Path) -> Recipe:
    """The typed recipe, with the sizes that `arch` stands for; each complaint begins with the file's name."""
    try:
        raw = read(_file(path))
        recipe = from_dict(Recipe, raw)
        kinds = {stream.objective.stacks for stream in recipe.stream.values()}
        return replace(
            recipe, model=resolve(raw.get("model", {}), kinds.pop() if len(kinds) == 1 else "encoder-decoder")
        )
    except ConfigError as error:
        problems = [Problem(str(path), str(problem)) for problem in error.problems]
        raise ConfigError(*problems, hint=error.hint) from None


def _marked(full: Mapping[str, Any], raw: Mapping[str, Any]) -> str:
    """The full recipe as TOML, with a comment behind each value that `raw` does not give."""
    given, table, out = dict(_leaves(raw)), "", []
    for line in to_toml(full).split("\n"):
        if line.startswith("["):
            table = line.strip("[]") + "."
        key, equals, _ = line.partition(" = ")
        out.append(f"{line}  # default" if equals and table + key not in given else line)
    return "\n".join(out)


def _leaves(raw: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values."""
    for key, value in raw.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{at}{key}.")
        else:
            yield f"{at}{key}", value


def _literal(leaves: Mapping[str, Any], key: str) -> str:
    return json.dumps(leaves[key], ensure_ascii=False) if key in leaves else "(not set)"
