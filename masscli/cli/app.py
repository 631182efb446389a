"""The command line: the list of commands, and how a command is found, documented and run.

A command is a module with a docstring and a function `run`. The docstring is its help: the first line is the
summary, which `COMMANDS` repeats so that `masscli --help` imports no command, and the examples come last. A
parameter of `run` is an ordinary Typer parameter or a configuration dataclass, which becomes one option for
each of its fields (see options.py).
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections import Counter
from collections.abc import Sequence
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from masscli.cli.allowed_code import peek_options
from masscli.cli.messages import warn
from masscli.cli.plain_values import PlainValues
from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.version import __version__

COMMANDS = {
    "preprocess": "Turn text into binarized shards and a vocabulary.",
    "merge-data": "Join the parts that preprocess --part encoded.",
    "pretrain": "Train a model on monolingual text: MASS and its relatives.",
    "finetune": "Train a model for a task, usually from pre-trained weights.",
    "generate": "Turn text into text with a trained model.",
    "interactive": "Translate lines as they are typed.",
    "serve": "Answer translation requests over HTTP, and show a web page.",
    "predict": "Predict labels, numbers, tags, choices or answers.",
    "score": "Compare text, labels, tags or answers with references.",
    "compare": "Compare two models, or their outputs, line by line.",
    "average": "Average the weights of several checkpoints.",
    "import": "Turn published weights of other programs into a run.",
    "export": "Turn a run into files that other programs read.",
    "inspect": "Show what is in a data folder, a run or a checkpoint.",
    "bench": "Measure speed against other programs, and check a GPU.",
    "filter": "Filter noisy pairs of sentences.",
    "mine": "Find translation pairs in two monolingual files.",
    "dictionary": "Find words that mean the same, in pairs, text or a model.",
    "align": "Align the pieces of training pairs.",
    "shortlist": "Find the likely target pieces of each source piece.",
    "report": "Summarize scores over seeds, or the cost of runs.",
    "convert-command": "Convert a command line of another toolkit to masscli.",
    "recipe": "List, show and run recipes, and check and compare settings.",
    "demo": "Write sample text in four languages, to try masscli.",
    "doctor": "Show what a bug report needs: versions, device, memory.",
}
"""The commands with their summaries. The module of a command is masscli/cli/NAME.py, where NAME has _ for -,
and a _ at its end if it is a keyword of Python."""

SHARING_COMMANDS = {"pretrain", "finetune", "generate", "predict"}
"""The commands that distribute their work over the processes of torchrun; others run in the first process."""

ABOUT = """\
Masked sequence-to-sequence pre-training (MASS) and its relatives, from raw text to a scored translation.

Examples:
  masscli preprocess --langs en,de --trainpref data/train --validpref data/valid
  masscli pretrain --objective mass --k 0.5
  masscli finetune --task translate -s en -t de --init-from runs/mass
  masscli generate -s en -t de < test.en > hyp.de
  masscli score hyp.de --ref test.de
"""

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
"""Settings of the parser for all commands. Help is as wide as the docstrings that it is made from."""

UsageError = cast(type[typer.BadParameter], typer.BadParameter.__base__)
"""The base class of all errors of the parser. Typer does not export it under a name of its own."""


class HelpPage:
    """A mix-in for Typer commands that shows help as plain text, with a list of options for each section.

    Typer's own pages, rendered with rich, take twice as long and squeeze the sentences between four
    columns.
    """

    epilog: str | None

    def format_options(self, context: Any, formatter: Any) -> None:
        """Write the arguments and options under the titles of their sections."""
        # These two sections come first, whatever the order of the parameters.
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in cast(Any, self).get_params(context):
            record = parameter.get_help_record(context)
            if record is None:
                continue
            title = "Options"
            # Typer calls the sections of a help page panels.
            if isinstance(parameter, TyperOption) and parameter.rich_help_panel:
                title = parameter.rich_help_panel
            if isinstance(parameter, TyperArgument):
                title = "Arguments"
                # The type after the name is sufficient.
                record = (record[0].split()[0], record[1])
            sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, context: Any, formatter: Any) -> None:
        """Write the examples of the command, without rewrapping their lines."""
        if self.epilog:
            formatter.write(f"\nExamples:\n{self.epilog}")


class Command(HelpPage, PlainValues, TyperCommand):
    """A Typer command whose help page is the plain one of `HelpPage`, and which needs no pydantic."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse the arguments, and name each option of which a later value replaces an earlier one.

        This is no error, since a script may intentionally override a value that it has set before.
        """
        values, _, given = self.make_parser(ctx).parse_args(args=list(args))
        # While a shell completes a word, a message would stand in the middle of the line. Of the processes of
        # torchrun, which have the same arguments, the first one says it.
        if ctx.resilient_parsing or distributed.rank > 0:
            given = []
        for parameter, count in Counter(given).items():
            is_replaced = count > 1 and _has_one_value(parameter)
            if is_replaced and not _are_equal(_typed_values(parameter, args), count):
                flag = max(parameter.opts, key=len)
                warn(
                    f"{flag} is given {count} times, and only the last one counts:"
                    f" {_typed(parameter, values[parameter.name])}"
                )
        return super().parse_args(ctx, args)


def _has_one_value(parameter: Any) -> bool:
    """Return whether a parameter is an option that has one value, so that a second one replaces the first."""
    # A flag that only switches something on means the same however often it is given.
    is_switch = parameter.is_flag and not parameter.secondary_opts
    return not (parameter.multiple or is_switch)


def _typed_values(parameter: Any, args: Sequence[str]) -> list[str]:
    """Return what an unparsed command line gives to an option: its values, or the flags themselves.

    A value that follows a short name without a blank, as in `-aten`, is left out.
    """
    typed: list[str] = []
    for name in (*parameter.opts, *parameter.secondary_opts):
        if parameter.is_flag:
            typed += [name] * args.count(name)
        else:
            typed += peek_options(args, name)
    return typed


def _are_equal(values: Sequence[str], count: int) -> bool:
    """Return whether all `count` values were found and are the same."""
    return len(values) == count and len(set(values)) == 1


def _typed(parameter: Any, value: object) -> object:
    """Return what was typed for an option: its value, or one of two flags (--compile, --no-compile)."""
    if not parameter.is_flag:
        return value
    return (parameter.opts if value else parameter.secondary_opts)[0]


class Commands(HelpPage, PlainValues, TyperGroup):
    """The group of all commands, which imports only the module of the command that is run."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a placeholder without options, which lists and shell completion show for a command."""
        return TyperCommand(cmd_name, short_help=COMMANDS[cmd_name])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return (name, command, arguments) of the command that `args` begins with, built for its arguments.

        Raises MasscliError if there is no such command, or none with such arguments. While a shell completes
        a word, name and command are None instead.
        """
        name, rest = args[0], args[1:]
        try:
            if name not in COMMANDS:
                from masscli.core.config import suggest

                raise MasscliError(
                    f"no command called {name!r}{suggest(name, list(COMMANDS))}",
                    "masscli --help",
                )
            return name, build_command(name, rest), rest
        except MasscliError:
            # While a shell completes a word, an error only means that there is nothing to suggest.
            if ctx.resilient_parsing:
                return None, None, rest
            raise

    def format_options(self, context: Any, formatter: Any) -> None:
        """Write the options of masscli itself, then the list of all commands with their summaries."""
        super().format_options(context, formatter)
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def dispatch(args: Sequence[str]) -> int:
    """Parse and run a command line (without the program's name), and return its exit code.

    Under torchrun, a command that cannot share its work runs in the first process only. Raises
    MasscliError for a user error.
    """
    if distributed.world_size > 1 and not SHARING_COMMANDS.intersection(args[:1]):
        if distributed.rank > 0:
            return 0
        distributed.work_alone()
    _check_encoding(args)
    _check_current_folder()
    app = build_app()
    # A shell asks for completions through this variable.
    if "_MASSCLI_COMPLETE" in os.environ:
        app.main(list(args), prog_name="masscli")
    try:
        # `masscli` without arguments shows the help.
        with app.make_context("masscli", list(args) or ["--help"]) as context:
            app.invoke(context)
    except typer.Exit as stop:
        return stop.exit_code
    except UsageError as error:
        raise _explain(error, args) from None
    return 0


def _check_encoding(args: Sequence[str]) -> None:
    """Raise MasscliError if an argument is not UTF-8, since recipes and messages could not show it."""
    for arg in args:
        try:
            arg.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(arg).decode("utf-8", "backslashreplace")
            raise MasscliError(
                f"{shown}: the argument is not UTF-8", "rename the file or folder"
            ) from None


def _check_current_folder() -> None:
    """Raise MasscliError if the current folder has been removed, without which libraries cannot be loaded."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise MasscliError(
            "the current folder has been removed", "cd to a folder that exists"
        ) from None


def build_app() -> Any:
    """Return the Typer group of all commands, with the options of masscli itself, such as --version."""
    about, examples = _split_help(ABOUT)
    # Without markup mode, square brackets in help texts are not interpreted as styles.
    app = typer.Typer(cls=Commands, rich_markup_mode=None, context_settings=SETTINGS)

    @app.callback(help=about, epilog=examples)
    def top_level(
        version: Annotated[
            bool,
            typer.Option(
                "--version",
                help="Print the version and exit.",
                is_eager=True,
                callback=_print_version,
            ),
        ] = False,
    ) -> None:
        pass

    return typer.main.get_command(app)


def build_command(name: str, args: Sequence[str]) -> Any:
    """Return the Typer command called `name`, whose options may depend on its arguments `args`.

    Raises MasscliError if `args` name something that decides on options and does not exist, such as an
    objective.
    """
    # Imported only now, because `masscli --help` needs neither.
    from masscli.cli.options import bind

    module = importlib.import_module(module_of(name))
    about, examples = _split_help(inspect.getdoc(module) or "")
    app = typer.Typer(
        add_completion=False, rich_markup_mode=None, context_settings=SETTINGS
    )
    app.command(name, cls=Command, help=about, epilog=examples)(
        bind(module.run, name, args)
    )
    return typer.main.get_command(app)


def module_of(name: str) -> str:
    """Return the full name of the module of a command: `masscli.cli.import_` for `import`."""
    module = name.replace("-", "_")
    if iskeyword(module):
        module += "_"
    return f"masscli.cli.{module}"


def _split_help(text: str) -> tuple[str, str]:
    """Split a docstring into (help text, examples after the line "Examples:")."""
    about, _, examples = text.partition("\nExamples:\n")
    return about, examples


def _explain(error: typer.BadParameter, args: Sequence[str]) -> MasscliError:
    """Turn an error of the command-line parser into a MasscliError in masscli's style.

    Unknown flags are all named, with what is known about them. Any other message is the parser's, on one
    line, without a capital and a full stop, and the hint is the command that shows help.
    """
    # Of the parser's errors, those about a flag that is unknown or lacks its value have this attribute. Their
    # classes cannot be named: older versions of typer take them from click, newer ones from a private module.
    if hasattr(error, "option_name"):
        # Imported only now, because most commands do not need the options of training.
        from masscli.cli.unknown_flags import SIBLINGS, explain_unknown_flags

        flags_of_sibling: set[str] = set()
        if args[0] in SIBLINGS:
            flags_of_sibling, _ = _known_parameters([SIBLINGS[args[0]][0]])
        explained = explain_unknown_flags(
            args, *_known_parameters(args), flags_of_sibling
        )
        if explained is not None:
            return explained
    line = " ".join(error.format_message().split()).rstrip(".")
    return MasscliError(line[:1].lower() + line[1:], _help_command(args))


def _known_parameters(args: Sequence[str]) -> tuple[set[str], dict[str, str]]:
    """Return the flags of the command that `args` begins with, and its arguments.

    The arguments are a dictionary from the name of each to the word that stands for it in the help. If there
    is no such command, there is only --help.
    """
    flags = {"--help"}
    arguments = {}
    if args[0] in COMMANDS:
        for parameter in build_command(args[0], args[1:]).params:
            if isinstance(parameter, TyperArgument):
                name = str(parameter.name)
                arguments[name] = str(parameter.metavar or name.upper())
            else:
                flags |= {*parameter.opts, *parameter.secondary_opts}
    return flags, arguments


def _help_command(args: Sequence[str]) -> str:
    """Return the command line that shows the help of the command in `args`: `masscli score --help`."""
    names = [arg for arg in args if not arg.startswith("-")]
    return " ".join(["masscli", *names[:1], "--help"])


def _print_version(is_given: bool) -> None:
    """Print the version and end the command, if --version is given; Typer calls this before all else."""
    if is_given:
        typer.echo(f"masscli {__version__}")
        raise typer.Exit
