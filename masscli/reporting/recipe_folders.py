"""Find the recipes that are installed with the package, and run one.

A recipe is a folder with a README.md, whose first line is its title, and numbered scripts such as
2-preprocess.sh, which are run in this order. Three environment variables control the scripts: SCALE
(how large the experiment is), DATA (the folder with the corpora) and OUTPUT (where results go).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

import masscli
from masscli.core.config import suggest
from masscli.core.errors import MasscliError
from masscli.core.stopping import signal_of

SCALES = ("tiny", "small", "gpu", "paper")
"""The sizes of an experiment that a recipe may have, the smallest first."""


def recipes_folder() -> Path:
    """Return the folder of all recipes: inside the installed package, or at the top of a checkout."""
    package = Path(masscli.__file__).parent
    installed = package / "recipes"
    if installed.is_dir():
        return installed
    return package.parent / "recipes"


def steps_of(folder: Path) -> list[Path]:
    """Return the numbered scripts of the recipe in `folder`, in their order; none if it is not a recipe."""
    return sorted(folder.glob("[1-9]-*.sh"))


def list_recipes() -> dict[str, str]:
    """Return the titles of all installed recipes, by the names of their folders."""
    titles = {}
    for readme in sorted(recipes_folder().glob("*/README.md")):
        if steps_of(readme.parent):
            first_line = readme.read_text(encoding="utf-8").split("\n", 1)[0]
            titles[readme.parent.name] = first_line.lstrip("# ")
    return titles


def find_recipe(name: str) -> Path:
    """Return the folder of a recipe: the installed one of this name, or else the user's own folder `name`.

    Raises MasscliError with a suggestion if there is neither.
    """
    known = list(list_recipes())
    # A folder here that happens to have the name of a recipe does not hide it.
    if name in known:
        return recipes_folder() / name
    if steps_of(Path(name)):
        return Path(name)
    raise MasscliError(
        f"no recipe called {name!r}{suggest(name, known)}", "masscli recipe list"
    )


def run_recipe(
    name: str, scale: str | None, data: Path | None, output: Path | None
) -> int:
    """Run the scripts of a recipe one after another, and return the exit status of the last one that ran.

    A script that fails, with a status other than 0, is named on standard error and ends the recipe. One
    that a signal ended has the status 128 and its number. `scale`, `data` and `output` are passed to the
    scripts as the environment variables SCALE, DATA and OUTPUT. One that is None is not set, so the value
    from the environment or the default of the recipe holds. The scripts run the masscli that runs now, even
    if its virtual environment is not activated. Raises MasscliError if the recipe or scale is unknown, if
    there is no folder `data`, or if bash is not installed.
    """
    folder = find_recipe(name)
    if scale is not None and scale not in SCALES:
        raise MasscliError(
            f"--scale {scale}: expected {', '.join(SCALES)}", "masscli recipe show NAME"
        )
    # At scale paper, the first step of a recipe may make the folder and download the text.
    if data is not None and scale != "paper" and not data.is_dir():
        raise MasscliError(
            f"--data {data}: there is no such folder",
            f"masscli recipe show {name} says which files it has to hold",
        )
    shell = shutil.which("bash")
    if shell is None:
        raise MasscliError(
            "recipes are shell scripts, and there is no bash on this machine",
            "install bash",
        )
    environment = dict(os.environ, PATH=_path_of_scripts())
    for variable, value in (("SCALE", scale), ("DATA", data), ("OUTPUT", output)):
        if value is not None:
            environment[variable] = str(value)
    for script in steps_of(folder):
        status = _status_of([shell, str(script)], environment)
        if status != 0:
            hint = _hint_after_failure(name, environment)
            print(
                f"error: {script}: ended with status {status}\nhint: {hint}",
                file=sys.stderr,
            )
            return status
    return 0


def _hint_after_failure(name: str, environment: Mapping[str, str]) -> str:
    """Return what to do when a script of a recipe has failed."""
    files = f"masscli recipe show {name} says which files it needs"
    if "DATA" not in environment and "MASSCLI_DATA" not in environment:
        return f"give the folder of corpora with --data; {files}"
    return f"{files}; the same command continues"


def _path_of_scripts() -> str:
    """Return the value of PATH with which scripts find the program `masscli` that runs now."""
    search_path = os.environ.get("PATH", os.defpath)
    program = Path(sys.argv[0])
    # `python -m masscli` has no path of its own.
    if program.name != "masscli":
        program = Path(sysconfig.get_path("scripts"), "masscli")
    if not program.is_file():
        return search_path
    return os.pathsep.join([str(program.absolute().parent), search_path])


def _status_of(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command; return its exit status, or 128 and the number of the signal that ended it.

    A signal that stops this process stops the command, too, and all that it has started, and is waited for: a
    step that trains saves a checkpoint.
    """
    # A group of its own gets the signal once, whether it comes from a terminal or not; it has no keyboard.
    with subprocess.Popen(
        command, env=environment, process_group=0, stdin=subprocess.DEVNULL
    ) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt as stop:
            # After Ctrl-C, Popen itself waits for a moment, in which the command may have ended.
            if process.poll() is None:
                os.killpg(process.pid, signal_of(stop))
            process.wait()
            raise
    return 128 - status if status < 0 else status
