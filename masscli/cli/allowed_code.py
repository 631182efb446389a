"""The option --allow-code: which code a command may run besides masscli and installed packages.

A recipe names its objectives. One of the form `module:Class` is imported only if the command line names it
too: with --objective, --task or --auxiliary, or with this option. It must be known before the command line is
parsed, because the other options depend on the objectives.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence
from typing import Annotated

import typer

from masscli.core.errors import MasscliError

READERS = {
    "pretrain",
    "finetune",
    "generate",
    "interactive",
    "serve",
    "predict",
    "score",
    "compare",
    "average",
    "export",
    "inspect",
    "filter",
    "mine",
    "dictionary",
    "recipe",
}
"""The commands with the option --allow-code, since they read the recipe of a checkpoint, run or file."""

FLAG = "--allow-code"


def allow_named_code(command: str, args: Sequence[str]) -> None:
    """Allow the import of the objectives that --allow-code names in `args`, if the command has it.

    Raises MasscliError for a name of another form than MODULE:CLASS, which would allow nothing.
    """
    names = ",".join(peek_options(args, FLAG)).split(",")
    # Most command lines do not use the option, and need not import the registry.
    if command not in READERS or not any(names):
        return
    from masscli.objectives.registry import OBJECTIVES

    for name in filter(None, names):
        if ":" not in name:
            raise MasscliError(
                f"{FLAG}: expected MODULE:CLASS, got {name!r}",
                f"masscli {command} --help",
            )
        OBJECTIVES.allow(name)


def allow_code_parameter() -> inspect.Parameter:
    """Return the Typer parameter of the option --allow-code, to be added to a command's signature."""
    option = typer.Option(
        FLAG,
        metavar="MODULE:CLASS",
        help="Objective of your own that the recipe of a file, run or checkpoint may use. "
        "Importing it runs its code with your permissions: name only code that you trust. Repeatable.",
        show_default=False,
    )
    return inspect.Parameter(
        "allow_code",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[list[str] | None, option],
    )


def peek_option(args: Sequence[str], name: str) -> str | None:
    """Return the last value that an unparsed command line gives to the option `name`, or None."""
    values = peek_options(args, name)
    if not values:
        return None
    return values[-1]


def peek_options(args: Sequence[str], name: str) -> list[str]:
    """Return all values that an unparsed command line gives to the option `name`, such as "--config"."""
    values = []
    for arg, following in itertools.pairwise([*args, None]):
        # Words after -- are not options.
        if arg is None or arg == "--":
            break
        if arg == name and following is not None:
            values.append(following)
        elif arg.startswith(f"{name}="):
            values.append(arg.removeprefix(f"{name}="))
    return values
