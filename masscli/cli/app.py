"""The frame: which commands there are, and how the one that was named is found and run.

A command is a module with a docstring and a function `run`.  The docstring is its help (first line: the summary, kept here too so that
`masscli --help` imports no command; from the line `Examples:` on: the foot).  A parameter of `run` is an ordinary Typer parameter, or a
configuration dataclass, which becomes one option for each of its fields (see options.py), or a training request (see request.py).
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Sequence
from keyword import iskeyword
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from masscli.cli.help import page
from masscli.cli.options import bind
from masscli.core.config import ConfigError, suggest
from masscli.core.errors import MasscliError
from masscli.version import __version__

COMMANDS = {
    "preprocess": "Turn text into binarised, checksummed shards and a vocabulary.",
    "pretrain": "Train a model on monolingual text: MASS and its relatives.",
    "finetune": "Train a model for a task, usually from pre-trained weights.",
    "generate": "Turn text into text with a trained model.",
    "predict": "Predict labels, numbers, tags, choices or answers.",
    "score": "Compare text, labels, tags or answers with references.",
    "average": "Average the weights of several checkpoints.",
    "import": "Turn published weights, as Hugging Face has them, into a run.",
    "export": "Turn a run into weights as Hugging Face has them.",
    "inspect": "Show what is in a data folder, a run or a checkpoint.",
    "bench": "Measure speed on this machine, beside plain PyTorch.",
    "dictionary": "Find words that mean the same: in pairs, in text, or in a model.",
    "report": "Summarise the scores of an experiment over its seeds.",
    "recipe": "List, show and run recipes, and check and compare settings.",
    "demo": "Write sample text in four languages, to try things out.",
}
"""Each is the module masscli/cli/NAME.py (NAME_.py where the word is Python's); the summary equals the first line of its docstring."""

ABOUT = """\
Masked sequence-to-sequence pre-training (MASS) and its relatives, from raw text to a scored translation.

Examples:
  masscli preprocess --langs en,de --trainpref data/train --validpref data/valid
  masscli pretrain --objective mass --k 0.5
  masscli finetune --task translate -s en -t de --init-from runs/mass
  masscli generate -s en -t de < test.en > hyp.de
  masscli score hyp.de --ref test.de
"""

UsageError = cast(type[typer.BadParameter], typer.BadParameter.__base__)
"""The base of all that the parser complains about.  It has no public name of its own, and new versions of Typer bring their own click."""


class Command(TyperCommand):
    """A command whose help is our page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(page(self, ctx))


class Commands(TyperGroup):
    """The top level: names and summaries from the table, a module only for the command that was named."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return TyperCommand(cmd_name, short_help=COMMANDS[cmd_name])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, rest = args[0], args[1:]
        try:
            if name not in COMMANDS:
                raise MasscliError(
                    f"no command called {name!r}{suggest(name, list(COMMANDS))}", "masscli --help"
                )
            return name, build(name, rest), rest
        except MasscliError:
            if ctx.resilient_parsing:  # a shell completes a word: a mistake means no suggestions
                return None, None, rest
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(page(self, ctx, COMMANDS))


def dispatch(args: Sequence[str]) -> int:
    """Parse and run a command line; the exit code.  Mistakes of the user are raised as `MasscliError`."""
    app = frame()
    if "_MASSCLI_COMPLETE" in os.environ:  # a shell asks for completions
        app.main(list(args), prog_name="masscli")
    try:
        with app.make_context("masscli", list(args) or ["--help"]) as context:
            app.invoke(context)
    except typer.Exit as stop:
        return stop.exit_code
    except UsageError as error:
        raise MasscliError(_sentence(error.format_message()), f"{_named(args)} --help") from None
    except ConfigError as error:
        raise MasscliError(error.message, error.hint or f"{_named(args)} --help") from None
    return 0


def frame() -> Any:
    """The group of all commands, with the options that go before a command's name."""
    app = typer.Typer(cls=Commands, rich_markup_mode=None, help=ABOUT)

    @app.callback(help=ABOUT)
    def _top(
        version: Annotated[
            bool,
            typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_version),
        ] = False,
    ) -> None:
        pass

    return typer.main.get_command(app)


def build(name: str, args: Sequence[str]) -> Any:
    """The command called `name`; `args` are peeked at where options depend on other options."""
    module = importlib.import_module(module_of(name))
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=Command, help=inspect.getdoc(module))(bind(module.run, args))
    return typer.main.get_command(app)


def module_of(name: str) -> str:
    """The module of a command."""
    return f"masscli.cli.{name}_" if iskeyword(name) else f"masscli.cli.{name}"


def _named(args: Sequence[str]) -> str:
    """`masscli`, and the command that was called."""
    return " ".join(["masscli", *[arg for arg in args if not arg.startswith("-")][:1]])


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"masscli {__version__}")
        raise typer.Exit


def _sentence(text: str) -> str:
    """The parser's message in the form of ours: one line, no capital, no full stop."""
    line = " ".join(text.split()).rstrip(".")
    return line[:1].lower() + line[1:]
