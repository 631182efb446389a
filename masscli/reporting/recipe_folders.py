"""Find the recipes that are installed with the package, and run one.

A recipe is a folder with a README.md, whose first line is its title, and a script run.sh. Scripts are told
what to do by three environment variables: SCALE (how large the experiment is), DATA (the folder with the
corpora) and OUTPUT (where results go).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import masscli
from masscli.core.config import suggest
from masscli.core.errors import MasscliError

SCALES = ("tiny", "small", "gpu", "paper")


def recipes_folder() -> Path:
    """Return the folder of all recipes: inside the installed package, or at the top of a checkout."""
    package = Path(masscli.__file__).parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def list_recipes() -> dict[str, str]:
    """Return the titles of all installed recipes, by the names of their folders."""
    titles = {}
    for readme in sorted(recipes_folder().glob("*/README.md")):
        if (readme.parent / "run.sh").is_file():
            titles[readme.parent.name] = readme.read_text(encoding="utf-8").split("\n", 1)[0].lstrip("# ")
    return titles


def find_recipe(name: str) -> Path:
    """Return the folder of a recipe.

    Raises MasscliError with a suggestion if there is no recipe of this name.
    """
    known = list(list_recipes())
    if name not in known:
        raise MasscliError(f"no recipe called {name!r}{suggest(name, known)}", "masscli recipe list")
    return recipes_folder() / name


def run_recipe(name: str, scale: str | None, data: Path | None, output: Path | None) -> int:
    """Run the script run.sh of a recipe, wait for it, and return its exit status.

    `scale`, `data` and `output` are passed to it as the environment variables SCALE, DATA and OUTPUT. One
    that is None is not set, so the value from the environment or the default of the recipe holds. Raises
    MasscliError if the recipe or scale is unknown, or if there is no bash.
    """
    folder = find_recipe(name)
    if scale is not None and scale not in SCALES:
        raise MasscliError(f"--scale {scale}: expected {', '.join(SCALES)}", "masscli recipe show NAME")
    shell = shutil.which("bash")
    if shell is None:
        raise MasscliError("recipes are shell scripts, and there is no bash on this machine", "install bash")
    environment = dict(os.environ)
    for variable, value in (("SCALE", scale), ("DATA", data), ("OUTPUT", output)):
        if value is not None:
            environment[variable] = str(value)
    return subprocess.run([shell, str(folder / "run.sh")], env=environment, check=False).returncode
