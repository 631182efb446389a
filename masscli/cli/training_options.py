"""The options of `pretrain` and `finetune`, gathered into a `TrainRequest`.

They are those of the recipe, of the choice of streams, and of the objectives in use. The command line is
searched for the names of the objectives before it is parsed, because their options depend on them. Nothing is
parsed or filled in here: that is the task of masscli/training/setup.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from masscli.cli.allowed_code import peek_option, peek_options
from masscli.cli.messages import warn
from masscli.cli.options import OptionGroup, SectionOptions, Values, join_repeated
from masscli.cli.typer_parameters import (
    completer,
    flag,
    flag_text,
    parameter,
    section_parameters,
)
from masscli.core import distributed
from masscli.core.config import ConfigError, from_dict, iter_options, merge, override
from masscli.core.errors import MasscliError
from masscli.objectives.registry import OBJECTIVES
from masscli.objectives.stream_selection import StreamSelection
from masscli.training.recipe import Recipe
from masscli.training.recipe_file import read_toml
from masscli.training.setup.request import TrainRequest, parse_weighted

CHOOSERS = {"pretrain": "--objective", "finetune": "--task"}
"""For each training command, the flag that names its main objective."""


class TrainingOptions(OptionGroup):
    """The option group of a training command: options of the recipe, of streams and of its objectives.

    It is created from the unparsed arguments, since they and the --config file decide which objectives are
    used, and so which options there are.
    """

    def __init__(self, command: str, args: Sequence[str]) -> None:
        self.chooser = CHOOSERS[command]
        self.objective = self._peek_objective(args)
        self.file: Path | None = None
        self.from_file: dict[str, Any] = {}
        path = peek_option(args, "--config")
        if path is not None:
            self.file = Path(path)
            self.from_file = read_toml(self.file)
        self.objectives = self._load_objectives(args)
        self.recipe = SectionOptions(Recipe)
        self.selection = SectionOptions(StreamSelection)

    def parameters(self) -> list[inspect.Parameter]:
        """Return the Typer parameters of all options.

        An option that several objectives have is one flag for all of them, listed under the first objective.
        """
        parameters: dict[str, inspect.Parameter] = {}
        for name, options in self.objectives.items():
            for option in section_parameters(options, f"Options of {name}"):
                if option.name != "name":
                    parameters.setdefault(option.name, option)
        recipe = {option.name: option for option in self.recipe.parameters()}
        # The data folder is a positional argument.
        del recipe["data"]
        return [
            *self._leading_parameters(),
            *parameters.values(),
            *self.selection.parameters(),
            *recipe.values(),
            *_precision_parameters(recipe["precision"]),
        ]

    def collect(self, values: Values) -> TrainRequest:
        """Return the training request that the command line and the --config file make together.

        --set overrides flags, and flags override the file.
        """
        given = self._recipe_options(values)
        assignments = values["set"] or []
        # The processes of torchrun have the same arguments.
        if distributed.rank == 0:
            _warn_of_replaced(assignments)
        options = override(merge(self.from_file, given), assignments)
        streams = options.pop("stream", {})
        return TrainRequest(
            recipe_options=options,
            stream_tables=streams,
            objective=values["objective"],
            objective_options=self._objective_options(values),
            selection=from_dict(StreamSelection, self.selection.given(values)),
            flag_keys=frozenset(self.recipe.names(values)),
            # Which files matched their checksums is remembered on the disk, so a dry run does not compare.
            verify=not values["no_verify"] and not values["dry_run"],
            accept_changes=values["accept_changes"],
            dry_run=values["dry_run"],
            names=self.names(values),
        )

    def names(self, values: Values) -> dict[str, str]:
        """Return how the user gave each option, by dotted key, for messages.

        This is a key of the --config file, a flag, or --set with a key; of several, the one that wins.
        """
        names = {}
        if self.file is not None:
            # Later entries replace earlier ones, in the order in which they win.
            names = {key: f"{self.file}: {key}" for key in _nested_keys(self.from_file)}
        names |= self.recipe.names(values) | self.selection.names(values)
        for key, value in self._objective_options(values).items():
            names[key] = flag_text(key, value)
            # A flag of an objective is applied to the streams that the recipe lists.
            for stream in self._stream_names(values):
                names[f"stream.{stream}.objective.{key}"] = names[key]
        for assignment in values["set"] or []:
            key, _, _ = assignment.partition("=")
            names[key] = f"--set {key}"
        return names

    def _peek_objective(self, args: Sequence[str]) -> str | None:
        """Return the main objective that the unparsed arguments name, or None.

        Raises MasscliError if they name several, of which only the last would be learned.
        """
        names = list(dict.fromkeys(peek_options(args, self.chooser)))
        if len(names) > 1:
            raise MasscliError(
                f"{self.chooser} names one objective, not {' and '.join(names)}",
                f"{self.chooser} {names[0]} --auxiliary {names[1]} learns both",
            )
        return names[0] if names else None

    def _load_objectives(self, args: Sequence[str]) -> dict[str, type]:
        """Return the option dataclasses of all objectives in use, by name.

        They are the one that the command line names, or else those of the streams in the --config file, and
        those of --auxiliary. Objectives that the command line names are allowed to be imported.
        """
        # Where each objective was named, for errors.
        sources: dict[str, object] = {}
        if self.objective is not None:
            sources[self.objective] = self.chooser
            OBJECTIVES.allow(self.objective)
        else:
            sources |= dict.fromkeys(_objective_names(self.from_file), self.file)
        for auxiliary in parse_weighted(
            ",".join(peek_options(args, "--auxiliary")).split(",")
        ):
            sources.setdefault(auxiliary.name, "--auxiliary")
            OBJECTIVES.allow(auxiliary.name)
        return {
            name: _load_objective(name, str(source)) for name, source in sources.items()
        }

    def _leading_parameters(self) -> Iterator[inspect.Parameter]:
        """Yield the parameters of DATA, of the main objective, and of options that are not settings.

        Such an option is --config.
        """
        (data,) = (option for option in iter_options(Recipe) if option.key == "data")
        argument = typer.Argument(
            metavar="DATA",
            help=f"{data.help} [default: {data.default}]",
            show_default=False,
        )
        yield parameter("data", Annotated[str | None, argument])
        names = list(OBJECTIVES.names())
        # Help lists the main objective together with the options that choose its streams.
        (stream_options,) = self.selection.parameters()[0].annotation.__metadata__
        chooser = typer.Option(
            self.chooser,
            metavar="NAME",
            help=f"What to learn: {', '.join(names)}, or module:Class. Add --help to see its own options.",
            rich_help_panel=stream_options.rich_help_panel,
            autocompletion=completer(names),
        )
        yield parameter("objective", Annotated[str | None, chooser])
        config = typer.Option(
            "--config",
            metavar="FILE",
            help="A recipe in TOML, or a run; flags override it.",
        )
        yield parameter("config", Annotated[str | None, config])
        set_ = typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set any key, such as optim.lr=1e-3 or, for a stream of the recipe, stream.en.loss_weight=2."
            " It overrides all other options. Repeatable.",
        )
        yield parameter("set", Annotated[list[str] | None, set_])
        no_verify = typer.Option(
            "--no-verify",
            help="Do not verify checksums of the data folder. They are verified once, and again if a file"
            " changes.",
        )
        yield parameter("no_verify", Annotated[bool, no_verify], default=False)
        accept_changes = typer.Option(
            "--accept-changes",
            help="Continue the run even if its learning rate, schedule, --clip-norm, dropout or batch size"
            " (--max-tokens, --batch-size, --update-freq) has changed.",
        )
        yield parameter(
            "accept_changes", Annotated[bool, accept_changes], default=False
        )
        dry_run = typer.Option(
            "--dry-run",
            help="Show data, model, memory and the first batches, try the first update, and write nothing.",
        )
        yield parameter("dry_run", Annotated[bool, dry_run], default=False)

    def _recipe_options(self, values: Values) -> dict[str, Any]:
        """Return the options of the recipe that were given as flags, unparsed, nested by section.

        --fp16 and --bf16 become the precision. Raises MasscliError if they contradict each other.
        """
        given = self.recipe.given(values)
        short = [name for name in ("fp16", "bf16") if values[name]]
        if not short:
            return given
        if len(short) > 1 or values["precision"] not in (None, short[0]):
            raise MasscliError(
                "--fp16, --bf16 and --precision contradict each other",
                "give one of them",
            )
        return merge(given, {"train": {"precision": short[0]}})

    def _objective_options(self, values: Values) -> dict[str, Any]:
        """Return the options of the objectives that were given as flags, unparsed, by field name."""
        given = {}
        for options in self.objectives.values():
            for option in iter_options(options):
                value = join_repeated(values.get(option.key))
                if option.key != "name" and value is not None:
                    given[option.key] = value
        return given

    def _stream_names(self, values: Values) -> set[str]:
        """Return the names of the streams that the --config file or --set defines."""
        streams = self.from_file.get("stream", {})
        names: set[str] = set()
        if isinstance(streams, dict):
            names |= streams.keys()
        for assignment in values["set"] or []:
            path = assignment.partition("=")[0].split(".")
            if path[0] == "stream" and len(path) > 1:
                names.add(path[1])
        return names


def explain_unknown_option(unknown: str, command: str) -> MasscliError | None:
    """Return an error that names the built-in objectives which have the flag `unknown`.

    Return None if no objective has it, or if `command` is not a training command.
    """
    if command not in CHOOSERS:
        return None
    owners = []
    for name in OBJECTIVES.builtin_names():
        for option in iter_options(OBJECTIVES.load(name)):
            if unknown in (flag(option.key), flag(f"no-{option.key}"), *option.flags):
                owners.append(name)
    if not owners:
        return None
    return MasscliError(
        f"{unknown} is an option of {CHOOSERS[command]} {', '.join(owners)}",
        f"add {CHOOSERS[command]} {owners[0]}, or leave it out",
    )


def _load_objective(name: str, source: str) -> type:
    """Return the option dataclass of an objective.

    Raises ConfigError, which begins with `source`, the flag or file that named the objective.
    """

    def name_source(key: str) -> str:
        return source if key == "name" else f"{source}: {key}"

    try:
        return OBJECTIVES.load(name)
    except ConfigError as error:
        raise error.with_keys(name_source) from None


def _warn_of_replaced(assignments: Sequence[str]) -> None:
    """Print a warning for each key to which several assignments KEY=VALUE of --set give different values."""
    given: dict[str, list[str]] = {}
    for assignment in assignments:
        key, _, value = assignment.partition("=")
        given.setdefault(key, []).append(value)
    for key, values in given.items():
        if len(set(values)) > 1:
            warn(
                f"--set {key} is given {len(values)} times, and only the last one counts: {values[-1]}"
            )


def _precision_parameters(precision: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """Yield the Typer parameters of --fp16 and --bf16, in the same section of the help as --precision."""
    (info,) = precision.annotation.__metadata__
    for name in ("fp16", "bf16"):
        option = typer.Option(
            flag(name),
            help=f"The same as --precision {name}.",
            show_default=False,
            rich_help_panel=info.rich_help_panel,
        )
        yield parameter(name, Annotated[bool, option], default=False)


def _objective_names(tables: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the objectives of all streams in the contents of a recipe file.

    Malformed streams are skipped; they are reported when the recipe is parsed.
    """
    streams = tables.get("stream", {})
    if not isinstance(streams, dict):
        return
    for stream in streams.values():
        match stream:
            case {"objective": {"name": str(name)}}:
                yield name


def _nested_keys(tables: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of all values and tables in nested tables; keys begin with `prefix`."""
    for key, value in tables.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _nested_keys(value, f"{prefix}{key}.")
