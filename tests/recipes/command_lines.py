"""Find the masscli commands in scripts and pages, and parse them as the real commands do."""

from __future__ import annotations

import functools
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from masscli.cli.app import COMMANDS, build_command, module_of
from masscli.core.config import from_dict
from masscli.objectives.registry import OBJECTIVES
from masscli.training.recipe import Recipe
from masscli.training.setup.request import TrainRequest
from masscli.training.setup.unused_options import check_unused_options

ROOT = Path(__file__).parents[2]
SEPARATORS = re.compile(r"[|;&<>()]+")
INTRODUCTIONS = {"", "-m", "then", "else", "do", "{", "!", "$", "time"}
"""What may stand before the name of a command, besides separators; $ is the prompt, -m that of `torchrun -m masscli`."""


def fenced_blocks(page: str) -> list[str]:
    """Return the shell blocks of a Markdown page; of a block with prompts only what was typed."""
    blocks = re.findall(
        r"^```(?:bash|sh|shell|console)\n(.*?)^```", page, re.MULTILINE | re.DOTALL
    )
    typed = []
    for block in blocks:
        # A command continues on the next line after a backslash.
        prompts = re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.MULTILINE)
        typed.append("\n".join(prompts) if prompts else block)
    return typed


def toml_recipes(page: str) -> list[str]:
    """Return the TOML blocks of a Markdown page that are recipes; its commands call the last one run.toml."""
    blocks = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "[stream." in block]


def find_calls(script: str) -> Iterator[list[str]]:
    """Yield what follows `masscli` in each simple command of a script, with variables as they stand."""
    for line in script.replace("\\\n", " ").split("\n"):
        if "masscli" in line and not line.lstrip().startswith("#"):
            yield from _calls_of_line(line)


def _calls_of_line(line: str) -> Iterator[list[str]]:
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    call: list[str] | None = None
    before = ""
    for word in words:
        if SEPARATORS.fullmatch(word):
            if call is not None:
                yield call
            call = None
        elif call is not None:
            call.append(word)
        elif word == "masscli" and (
            before in INTRODUCTIONS or SEPARATORS.fullmatch(before)
        ):
            call = []
        before = word
    if call is not None:
        yield call


def flags_of(call: Sequence[str]) -> list[str]:
    """Return the flags of a call: all that begins with a dash and is neither a number nor the dash of standard input."""
    return [word.partition("=")[0] for word in call if re.match(r"--?[A-Za-z]", word)]


def known_flags(call: Sequence[str]) -> set[str]:
    """Return the flags that the real command of a call takes."""
    command = build_command(call[0], call[1:])
    return {
        "--help",
        *(
            name
            for param in command.params
            for name in (*param.opts, *param.secondary_opts)
        ),
    }


def accept(call: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse and decode a call as the real command does, without running it; whatever is wrong is raised."""
    assert call[0] in COMMANDS, f"there is no command {call[0]}"
    module = importlib.import_module(module_of(call[0]))
    with monkeypatch.context() as patch:
        patch.setattr(module, "run", functools.wraps(module.run)(_decode))
        command = build_command(call[0], call[1:])
        command.invoke(command.make_context(call[0], list(call[1:])))


def _decode(**given: object) -> None:
    """Stand in for a command. A training request decodes its recipe and looks for unused options later, so that is done here."""
    for request in given.values():
        if isinstance(request, TrainRequest):
            recipe = from_dict(Recipe, request.recipe_options)
            # Whether the temperature has an effect depends on the languages of the data.
            unused = [
                problem
                for problem in check_unused_options(recipe, request)
                if problem.key != "lang_temperature"
            ]
            assert not unused, unused
            if request.objective is not None:
                options = {
                    "name": request.objective,
                    **request.options_for(request.objective),
                }
                from_dict(OBJECTIVES.load(request.objective), options)


def value(call: Sequence[str], flag: str) -> str:
    """Return the value of a flag, or an empty string if the call does not have it."""
    return call[call.index(flag) + 1] if flag in call else ""


def bash(
    *args: object, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run bash without standard input, and find commands first in this interpreter's environment, or in the path that is given."""
    search_path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {
        "PATH": search_path,
        "MASSCLI_NO_VENV": "1",
        "OMP_NUM_THREADS": "1",
        "NO_COLOR": "1",
    }
    return subprocess.run(
        ["bash", *map(str, args)],
        cwd=cwd,
        env={**os.environ, **variables, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
